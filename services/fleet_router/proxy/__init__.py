"""Forwarding a request to a model server and streaming its response back."""
