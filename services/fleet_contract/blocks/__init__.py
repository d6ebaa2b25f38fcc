"""Blocks of a ModelSpec with rules of their own."""
