"""What each policy's forecasts are worth on resolved questions, real ones; the models are SIMULATED."""
