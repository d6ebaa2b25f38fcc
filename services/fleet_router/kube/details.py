"""The parts of a status that only the console shows, by resource.

Kept as JSON, which takes a fraction of the memory of the objects in it: a fleet may have thousands
of resources, of which somebody looks at one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from fleet_kube.client import Json
from fleet_router.routing.table import Origin

PARTS = ("conditions", "coldStart", "weights", "ready")
MAX_BYTES = 64 * 1024
"""Size of the largest that is kept; the operator writes some hundred bytes for each condition."""


class Details:
    """What `fleet_router.status.fleet_view` shows besides routes."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], bytes] = {}

    def put(self, key: tuple[str, str], item: Json) -> None:
        """Take the status of an InferenceModel; one that is no JSON object counts as empty."""
        status = item.get("status")
        found = status if isinstance(status, dict) else {}
        try:
            raw = orjson.dumps({part: found[part] for part in PARTS if part in found})
        except orjson.JSONEncodeError:  # nested too deeply
            raw = b""
        if 2 < len(raw) <= MAX_BYTES:
            self._known[key] = raw
        else:
            self._known.pop(key, None)

    def forget(self, key: tuple[str, str]) -> None:
        """Drop a resource that was deleted."""
        self._known.pop(key, None)

    def of(self, origin: Origin) -> Mapping[str, Any] | None:
        """The parts of a resource's status; None if there is none."""
        raw = self._known.get((origin.namespace, origin.name))
        return dict(orjson.loads(raw)) if raw is not None else None
