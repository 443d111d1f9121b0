"""Windows on the bot. They read the journal and watch events; nothing imports them."""
