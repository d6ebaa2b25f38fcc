"""Routes from a Kubernetes cluster: watched resources, readiness, waking."""
