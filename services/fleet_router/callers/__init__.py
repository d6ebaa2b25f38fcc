"""Who calls: authentication, keys, quotas, usage and access logs."""
