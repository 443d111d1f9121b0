"""The web page: how the bot is doing, for eyes; its controls, for whoever has the token."""
