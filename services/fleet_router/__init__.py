"""The router: one OpenAI-compatible address for all model servers."""
