"""One-shot subcommands: explain."""
