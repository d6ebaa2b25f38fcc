"""Models on demand within a budget of memory: when servers start and stop, and what they take."""
