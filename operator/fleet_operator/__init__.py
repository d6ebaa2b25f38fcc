"""The Kubernetes operator; this folder's parent is not importable on purpose (stdlib `operator`)."""
