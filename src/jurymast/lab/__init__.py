"""Where everything outside the bot is made up: emulated providers, drills, measurements."""
