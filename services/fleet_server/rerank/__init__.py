"""Rerank over HTTP, in the formats of Jina, Cohere, llama.cpp and text-embeddings-inference."""
