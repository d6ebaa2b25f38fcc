"""A real Kubernetes for the tests, as plain processes; the fixtures of tests/cluster drive it."""
