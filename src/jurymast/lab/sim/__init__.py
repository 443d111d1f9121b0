"""The failover core under virtual time: years of SIMULATED outages a minute, every rule checked."""
