"""Append-only record of what happened: written by one bot, read by anyone at any time."""
