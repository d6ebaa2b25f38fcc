"""Bounds of the memory that all running requests share."""
