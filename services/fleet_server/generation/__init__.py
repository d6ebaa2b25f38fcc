"""Shared by chat, text completions and responses: options, token streams, rendering."""
