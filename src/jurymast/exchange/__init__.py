"""Where orders live: Kalshi's wire, an exchange that speaks it embedded on real questions, and those."""
