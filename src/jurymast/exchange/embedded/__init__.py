"""A Kalshi-compatible exchange on loopback, with a real matching engine and faults on command; SIMULATED."""
