"""Models that stop for others."""
