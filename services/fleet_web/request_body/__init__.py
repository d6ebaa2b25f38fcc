"""Limits of request bodies: memory, pace, compression, the size of parsed JSON."""
