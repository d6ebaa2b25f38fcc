"""Guided generation: texts that follow a JSON Schema, with masks computed by llguidance."""
