"""Routes of `engine: remote`, which lead to an OpenAI-compatible address elsewhere.

Only keys in variables that REMOTE_KEYS names are sent: the right to write an InferenceModel must
not include reading the router's environment.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

from fleet_contract.spec import Engine
from fleet_router.routing.table import Endpoint, Route
from fleet_web.logs import event

logger = logging.getLogger(__name__)

ALLOWED = "REMOTE_KEYS"
"""Environment variable with the names of variables that may be used as keys, comma-separated."""


def with_remote(route: Route, environ: Mapping[str, str]) -> Route:
    """The route with its remote address as endpoint, if any; without one if it is malformed."""
    remote = route.spec.remote
    if route.spec.engine is not Engine.REMOTE or remote is None:
        return route
    try:
        endpoint = Endpoint.parse("remote", remote.address, api_key(remote.api_key_env, environ))
    except ValueError:
        return replace(route, endpoints=(), reason="InvalidAddress")
    return replace(route, endpoints=(endpoint,), upstream_model=remote.model or route.model)


def api_key(name: str | None, environ: Mapping[str, str]) -> str:
    """The key in the variable `name`, "" if it is not set or not allowed."""
    if name is None:
        return ""
    allowed = {each.strip() for each in environ.get(ALLOWED, "").split(",")}
    if name not in allowed:
        event(logger, "remote_key_not_allowed", level=logging.WARNING, variable=name)
        return ""
    return environ.get(name, "")
