"""The AI layer: providers, failover between them, and the one call a trader makes."""
