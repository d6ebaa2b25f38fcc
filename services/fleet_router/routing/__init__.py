"""Which models exist, where their servers are, and which route a request takes."""
