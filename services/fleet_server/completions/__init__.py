"""Text completions over HTTP: prompts reach the engine without a chat template."""
