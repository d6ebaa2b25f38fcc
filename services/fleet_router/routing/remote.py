"""Routes of `engine: remote`: an OpenAI-speaking address elsewhere instead of servers of ours.

Called by both sources of routes. Only keys that the operator of the router allowed by name are
ever sent: who may write an InferenceModel must not read the router's environment with it.
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
"""Environment variable: names of those that may be used as keys, comma-separated."""


def with_remote(route: Route, environ: Mapping[str, str]) -> Route:
    """The route, to its remote address if it has one; without a server when that is malformed."""
    remote = route.spec.remote
    if route.spec.engine is not Engine.REMOTE or remote is None:
        return route
    try:
        endpoint = Endpoint.parse("remote", remote.address, key(remote.api_key_env, environ))
    except ValueError:
        return replace(route, endpoints=(), reason="InvalidAddress")
    return replace(route, endpoints=(endpoint,), sends=remote.model or route.model)


def key(name: str | None, environ: Mapping[str, str]) -> str:
    """The key in the variable `name`, "" where it is not set or not allowed."""
    if name is None:
        return ""
    allowed = {each.strip() for each in environ.get(ALLOWED, "").split(",")}
    if name not in allowed:
        event(logger, "remote_key_not_allowed", level=logging.WARNING, variable=name)
        return ""
    return environ.get(name, "")
