"""Logins of container registries, and the tokens that registries give for them.

Sources: docker's config.json, github.com/docker/cli; challenges and tokens,
distribution.github.io/distribution/spec/auth/token.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from fleet_contract.names import REGISTRY_LOGINS
from fleet_weights.errors import WeightsError

DOCKER_HUB = "docker.io"
DOCKER_HUB_KEY = "index.docker.io"
"""Host under which `docker login` stores the login of DOCKER_HUB."""
_PARAMETER = re.compile(r'([a-zA-Z]+)="([^"]*)"')

GetJson = Callable[[str, Mapping[str, str]], Any]
"""A GET request with headers; the JSON of the response. Raises WeightsError."""


def basic(host: str, environ: Mapping[str, str]) -> str | None:
    """The header `authorization` of the login for a registry; None without one.

    Logins are in the variable REGISTRY_LOGINS, else in config.json of DOCKER_CONFIG or ~/.docker.
    """
    wanted = DOCKER_HUB_KEY if host == DOCKER_HUB else host
    for key, entry in _auths(environ).items():
        if wanted in (key, key.partition("://")[2].partition("/")[0]) and (
            found := _encoded(entry)
        ):
            return f"Basic {found}"
    return None


class Login:
    """The `authorization` of requests to a repository; a registry's challenge renews it."""

    def __init__(self, base: str, basic: str | None, get_json: GetJson) -> None:
        self.header: str | None = None
        self._base = base
        self._basic = basic
        self._get_json = get_json

    def renew(self, challenge: str) -> str | None:
        """`authorization` for a challenge (the value of `WWW-Authenticate`); None if unknown."""
        kind, _, rest = challenge.partition(" ")
        if kind.lower() == "basic":
            self.header = self._basic
        elif kind.lower() == "bearer":
            self.header = self._bearer(dict(_PARAMETER.findall(rest)))
        return self.header

    def _bearer(self, parameters: Mapping[str, str]) -> str:
        realm = parameters.get("realm", "")
        if urlsplit(realm).scheme not in ("https", urlsplit(self._base).scheme):
            raise WeightsError(f"{self._base} names {realm!r} for tokens, which is not https.")
        query = {name: parameters[name] for name in ("service", "scope") if name in parameters}
        headers = {"authorization": self._basic} if self._basic else {}
        found = self._get_json(f"{realm}?{urlencode(query)}", headers)
        token = (found.get("token") or found.get("access_token")) if isinstance(found, dict) else ""
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise WeightsError(f"{realm} returned no token.")
        return f"Bearer {token}"


def _auths(environ: Mapping[str, str]) -> dict[str, Any]:
    text = environ.get(REGISTRY_LOGINS)
    if not text:
        home = environ.get("HOME")
        folder = environ.get("DOCKER_CONFIG") or (f"{home}/.docker" if home else "")
        file = Path(folder) / "config.json"
        text = file.read_text(encoding="utf-8") if folder and file.is_file() else "{}"
    try:
        config = json.loads(text)
    except ValueError:
        raise WeightsError("The logins of registries are not JSON.", _HINT) from None
    auths = config.get("auths", {}) if isinstance(config, dict) else None
    if not isinstance(auths, dict):
        raise WeightsError("The logins of registries have no `auths`.", _HINT)
    return auths


def _encoded(entry: Any) -> str:
    """User and password in base64; empty for a login in a credential helper."""
    if not isinstance(entry, Mapping):
        return ""
    if entry.get("auth"):
        return str(entry["auth"])
    if entry.get("username") and entry.get("password"):
        text = f"{entry['username']}:{entry['password']}"
        return base64.b64encode(text.encode()).decode()
    return ""


_HINT = "Create the Secret with `kubectl create secret docker-registry`, or run `docker login`."
