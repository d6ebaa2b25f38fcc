"""Watches, cache, work queue and the loop that reconciles models."""
