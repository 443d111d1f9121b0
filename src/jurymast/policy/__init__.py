"""Pure rules: functions and state machines of (state, event, now), without I/O, clock or randomness."""
