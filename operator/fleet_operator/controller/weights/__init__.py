"""Fills the node caches of profiles ahead of time."""
