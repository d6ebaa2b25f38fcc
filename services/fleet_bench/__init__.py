"""`modelfleet bench`: measures any OpenAI-compatible address from the outside.

Knows nothing of the servers it measures and imports none of them.
"""
