"""Authentication, quotas and usage of callers; the access log."""
