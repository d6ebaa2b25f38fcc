"""The spans of a server's requests."""
