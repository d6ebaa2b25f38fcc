"""Anthropic's messages over HTTP, as a translation to chats."""
