"""Public test kit: time that obeys, a journal in memory, a provider that plays a script."""
