"""Kubernetes objects of a model, built from its spec, and views of those observed."""
