"""From a source to files an engine reads: which engine serves a model here, and conversions.

Imports fleet_contract and fleet_weights only; heavy libraries are imported by the function in need.
"""
