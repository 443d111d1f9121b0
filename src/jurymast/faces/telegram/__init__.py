"""Status and control by Telegram: a window like the page, beside the trading and never in its way."""
