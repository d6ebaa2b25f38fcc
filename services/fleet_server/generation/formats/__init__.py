"""The formats that a request can set for its text."""
