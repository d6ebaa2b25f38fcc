"""Brings a model up: weights, engine, warm-up, golden checks."""
