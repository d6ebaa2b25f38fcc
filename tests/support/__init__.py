"""Helpers of several test suites, and the generator of docs/modules.md."""
