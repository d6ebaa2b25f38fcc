"""One-shot subcommands: explain, install-crd."""
