"""Subcommands that run once: explain, install-crd."""
