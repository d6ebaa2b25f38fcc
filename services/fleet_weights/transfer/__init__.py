"""Downloads over HTTP and from the package index, with progress and retries."""
