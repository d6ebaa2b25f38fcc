"""The HTTP layer that router and model servers share: errors, request ids, logs, limits."""
