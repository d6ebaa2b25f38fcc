"""A small client of the Kubernetes API on the `kubernetes` package, without its typed models."""
