"""Settings, wiring and life of the bot: the only room that knows everybody."""
