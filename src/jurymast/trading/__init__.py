"""From a forecast to an order and back to cash: cycle, gateway, exits, reconciliation, portfolio."""
