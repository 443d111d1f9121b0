"""SIMULATED model providers: real HTTP servers on loopback that speak the vendors' wires, faults included."""
