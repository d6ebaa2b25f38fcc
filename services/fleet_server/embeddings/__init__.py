"""Embeddings over HTTP: validate, look up the cache, run in shared batches, render."""
