"""Decides from where an address can be reached, and whether keys are required there."""

from __future__ import annotations

import ipaddress
import socket

SWITCH = "ALLOW_UNAUTHENTICATED"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens on `host`, a name or address."""
    if is_local_name(host):
        return True
    addresses = _addresses(host)
    return bool(addresses) and all(ipaddress.ip_address(each).is_loopback for each in addresses)


def _addresses(host: str) -> set[str]:
    """The addresses that a server on `host` listens on; empty for an unknown name."""
    try:
        found = socket.getaddrinfo(
            host or None, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError:
        return set()
    return {str(entry[4][0]).partition("%")[0] for entry in found}


def is_local_name(name: str) -> bool:
    """Whether a name or address always means this machine: no name server is queried for it
    (RFC 6761 section 6.3)."""
    name = name.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def warning(host: str, port: int, *, has_keys: bool) -> str:
    """A warning where everyone who can reach the address may use it, else ""."""
    if has_keys or is_loopback(host):
        return ""
    return (
        f"No API key is required at {host}:{port}, which other machines can reach: set KEYS_FILE,"
        " or restrict the access in front of it."
    )


def require_keys(host: str, *, has_keys: bool, allowed: bool) -> None:
    """Raise ValueError where other machines can reach `host` without a key and `allowed`, the
    switch for that, is not set. No error for an unknown name: nothing can listen there."""
    if not (has_keys or allowed or is_loopback(host)) and _addresses(host):
        raise ValueError(
            f"HOST={host} can be reached from other machines, and no API keys are configured: set"
            f" KEYS_FILE, or {SWITCH}=1 to serve everyone who can reach it"
        )
