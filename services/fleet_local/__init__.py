"""Local mode: the fleet as supervised processes on one machine."""
