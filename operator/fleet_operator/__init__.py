"""The Kubernetes operator. Its parent folder is not importable: it would shadow `operator`."""
