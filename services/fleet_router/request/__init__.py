"""Reads a client's request within its limits."""
