"""What chat, text completions and responses share: options, token streams, text, rendering."""
