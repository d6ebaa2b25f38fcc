"""Weights in images of container registries, for clusters without image volumes."""
