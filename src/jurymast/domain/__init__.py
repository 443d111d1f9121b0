"""Frozen nouns of the trade. Standard library only; everything above speaks in these words."""
