"""`modelfleet bench`: measures OpenAI-compatible servers over HTTP, without importing any."""
