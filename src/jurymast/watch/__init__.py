"""The watchdog's room: signs of life, and what is done when they stop. It never places an order."""
