"""Embeddings over HTTP: strict requests, batches shared by requests, a cache, fast answers."""
