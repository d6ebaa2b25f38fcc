"""The words every part of Modelfleet shares: ModelSpec, catalog, manifests, settings, names.

Imports no sibling package and nothing heavier than pydantic and pyyaml.
"""
