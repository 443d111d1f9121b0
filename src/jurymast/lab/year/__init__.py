"""A year of trading with outages, SIMULATED: what each way of taking an outage earns and loses."""
