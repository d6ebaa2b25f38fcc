"""Choosing tokens from logits with NumPy, for engines whose own sampling lacks an option."""
