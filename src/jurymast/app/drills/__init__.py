"""Game days: the real program in paper mode, broken on purpose and graded. Everything is SIMULATED."""
