"""The number of servers that a model needs, from its load."""
