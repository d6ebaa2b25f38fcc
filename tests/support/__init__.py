"""Helpers shared by test suites, and the generator of docs/modules.md."""
