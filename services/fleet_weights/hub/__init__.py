"""Repositories of the Hugging Face hub: listing, choice of files, caches."""
