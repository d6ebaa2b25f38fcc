"""Periodic requests to servers, routers and remote addresses."""
