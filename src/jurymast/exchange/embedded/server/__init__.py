"""Kalshi's wire for the embedded exchange: REST, websocket, limits, faults; SIMULATED."""
