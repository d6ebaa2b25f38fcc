"""Builds the Kubernetes objects of a model from its spec, and parses observed objects."""
