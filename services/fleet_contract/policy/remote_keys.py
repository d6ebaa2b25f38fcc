"""Keys of remote servers: the addresses each may be sent to, and the namespaces that may use it.

REMOTE_KEYS is a JSON list of rules, `[{"name": "CLOUD_KEY", "addresses": ["https://api.test/v1"],
"namespaces": ["team-a"]}]`, or names of variables, comma-separated, which may be sent to every
https address. A rule without `namespaces` applies to all.

An address of a rule covers the same scheme, host and port, and the paths below its own;
`https://` alone covers every https address. A key is sent over plain http only where an address of
the rule begins with `http://`.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Annotated
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import Field, TypeAdapter, ValidationError

from fleet_contract.spec_base import SpecPart

ANY_HTTPS = "https://"
NAME = r"^[A-Za-z_][A-Za-z0-9_]*$"
PORTS = {"http": 80, "https": 443}


class RemoteKey(SpecPart):
    """Where the key in one environment variable may be sent."""

    name: str = Field(pattern=NAME)
    """Environment variable of the router that holds the key."""
    addresses: list[Annotated[str, Field(pattern=r"^https?://[^\s?#@]*$")]] = Field(min_length=1)
    """Base addresses that may get the key, as prefixes."""
    namespaces: list[str] = Field(default_factory=list)
    """Namespaces whose InferenceModels may use the key; all by default."""


RemoteKeys = tuple[RemoteKey, ...]
_RULES = TypeAdapter(RemoteKeys)


@lru_cache(maxsize=8)
def parse(text: str) -> RemoteKeys:
    """The rules in a value of REMOTE_KEYS. Raises ValueError that names the field."""
    text = text.strip()
    try:
        if text.startswith("["):
            return _RULES.validate_json(text)
        names = [name.strip() for name in text.split(",")]
        return tuple(RemoteKey(name=name, addresses=[ANY_HTTPS]) for name in names if name)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{where}: {first['msg']}" if where else first["msg"]) from error


def refusal(keys: RemoteKeys, name: str, address: str, namespace: str) -> str | None:
    """Why the key `name` may not be sent to `address` for a model in `namespace`; None if it may.

    Models outside of a cluster have the namespace "".
    """
    rules = [rule for rule in keys if rule.name == name]
    if not rules:
        return f"the key {name} is not one of remoteKeys"
    rules = [rule for rule in rules if not rule.namespaces or namespace in rule.namespaces]
    if not rules:
        return f"the key {name} may not be used by models in the namespace {namespace!r}"
    if not any(covers(allowed, address) for rule in rules for allowed in rule.addresses):
        return f"the key {name} may not be sent to {address}, only to {_listed(rules)}"
    return None


def covers(allowed: str, address: str) -> bool:
    """Whether the prefix `allowed` covers `address`."""
    try:
        prefix, found = urlsplit(allowed), urlsplit(address)
        if prefix.scheme != found.scheme:
            return False
        if not prefix.netloc:
            return True
        same_host = prefix.hostname == found.hostname and _port(prefix) == _port(found)
    except ValueError:
        return False
    return same_host and _is_below(prefix.path.rstrip("/"), found.path)


def _port(address: SplitResult) -> int | None:
    return address.port or PORTS.get(address.scheme)


def _is_below(folder: str, path: str) -> bool:
    """Whether `path` is `folder` or in it; never for one with `..`, which servers resolve."""
    if not folder:
        return True
    segments = unquote(path).replace("\\", "/").split("/")
    return ".." not in segments and (path == folder or path.startswith(f"{folder}/"))


def _listed(rules: Iterable[RemoteKey]) -> str:
    return ", ".join(dict.fromkeys(address for rule in rules for address in rule.addresses))
