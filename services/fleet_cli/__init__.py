"""The `modelfleet` command and its subcommands for catalog, weights, manifests and settings."""
