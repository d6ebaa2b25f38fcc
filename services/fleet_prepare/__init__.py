"""Engine choice and weight conversion: from a model's source to files an engine reads.

Imports fleet_contract and fleet_weights only; heavy libraries are imported where they are used.
"""
