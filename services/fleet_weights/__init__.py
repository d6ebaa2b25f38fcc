"""Fetches weights into one cache folder: atomic, resumable, checksummed."""
