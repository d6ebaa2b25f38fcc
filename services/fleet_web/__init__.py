"""What the router and the model servers share over HTTP: error shape, request ids, logs, limits."""
