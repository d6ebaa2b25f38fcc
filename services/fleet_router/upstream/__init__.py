"""Model servers as upstreams: connections, endpoint choice, outliers, retry budget."""
