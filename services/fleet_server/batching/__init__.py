"""Batches of inputs from many requests, for embeddings and rerank."""
