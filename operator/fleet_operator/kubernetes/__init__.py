"""The operator's client of the Kubernetes API."""
