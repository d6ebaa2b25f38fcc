"""Text completion over HTTP: a prompt goes to the engine as it is, without a chat template."""
