"""A real Kubernetes cluster for tests, run as plain processes."""
