"""The journal, tested."""
