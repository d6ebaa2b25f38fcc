"""Rerank over HTTP: how well documents answer a query, in the shapes existing clients know."""
