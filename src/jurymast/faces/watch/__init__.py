"""The terminal view of a bot, from a process of its own: it reads the same files as the web page."""
