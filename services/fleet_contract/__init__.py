"""What all parts of Modelfleet share: ModelSpec, catalog, manifests, API shapes, settings, names.

Imports no sibling package and nothing heavier than pydantic and pyyaml.
"""
