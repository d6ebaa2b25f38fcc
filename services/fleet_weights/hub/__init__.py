"""Repositories of the hub: listing, choice of files, caches of other tools."""
