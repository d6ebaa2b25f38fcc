"""Commands that send requests to a running fleet, or any OpenAI-compatible server."""
