"""Brings weights from an address into one cache folder: atomic, resumable, checksummed.

Imports only fleet_contract. Used by `modelfleet pull`, by local mode and by a server's start.
"""
