"""Routes of `engine: remote`, which lead to an OpenAI-compatible address elsewhere.

A key is sent only where a rule of REMOTE_KEYS (fleet_contract.policy.remote_keys) permits it: the
right to write an InferenceModel must not include reading the router's environment. A route whose
key is refused has no endpoint.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

from fleet_contract.policy import remote_keys
from fleet_contract.spec import Engine
from fleet_contract.status import REMOTE_KEY_REFUSED
from fleet_router.routing.table import Endpoint, Route
from fleet_web.logs import event

logger = logging.getLogger(__name__)

RULES = "REMOTE_KEYS"


def with_remote(route: Route, environ: Mapping[str, str]) -> Route:
    """The route with its remote address as endpoint, if any; without one if the address is
    malformed or may not get the key.

    Raises ValueError for malformed rules.
    """
    remote = route.spec.remote
    if route.spec.engine is not Engine.REMOTE or remote is None:
        return route
    key, rules = "", remote_keys.parse(environ.get(RULES, ""))
    if remote.api_key_env is not None:
        namespace = route.origin.namespace if route.origin is not None else ""
        why = remote_keys.refusal(rules, remote.api_key_env, remote.address, namespace)
        if why is not None:
            event(logger, "remote_key_refused", level=logging.WARNING, model=route.model, why=why)
            return replace(route, endpoints=(), reason=REMOTE_KEY_REFUSED)
        key = environ.get(remote.api_key_env, "")
    try:
        endpoint = Endpoint.parse("remote", remote.address, key)
    except ValueError:
        return replace(route, endpoints=(), reason="InvalidAddress")
    return replace(route, endpoints=(endpoint,), upstream_model=remote.model or route.model)
