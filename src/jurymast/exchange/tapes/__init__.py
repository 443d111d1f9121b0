"""Recorded markets: written down as they were heard, and played again as an exchange; SIMULATED then."""
