"""Model servers as upstreams: connections, endpoint picker, outliers, retry budget."""
