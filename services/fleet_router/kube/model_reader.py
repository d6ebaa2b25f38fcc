"""Reads InferenceModels into views; a spec that did not change is not read again.

Most changes of a resource concern its status. Completing and validating its spec would take most of
the time of such a change.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import replace

import orjson

from fleet_contract.catalog import Catalog
from fleet_kube.client import Json
from fleet_router.kube.details import Details
from fleet_router.kube.objects import ModelView, read_model, read_status
from fleet_web.logs import event

logger = logging.getLogger(__name__)

Key = tuple[str, str]


class ModelReader:
    """`environ` overrides limits as in `read_model`. Problems are logged when they change.
    `details` gets what the views leave out."""

    def __init__(
        self, catalog: Catalog, environ: Mapping[str, str], details: Details | None = None
    ) -> None:
        self._catalog = catalog
        self._environ = environ
        self._details = details
        self._known: dict[Key, tuple[bytes, ModelView]] = {}

    def read(self, item: Json) -> ModelView:
        """View of an InferenceModel."""
        meta, status = item["metadata"], item.get("status")
        key = meta.get("namespace", ""), meta["name"]
        known_to_operator = status if isinstance(status, dict) else {}
        parts = [known_to_operator.get(part) for part in ("resolved", "traffic")]
        digest = _digest([item.get("spec"), *parts])
        known = self._known.get(key)
        if known is not None and digest and known[0] == digest:
            old = known[1]
            view = replace(read_status(item), spec=old.spec, problem=old.problem)
        else:
            view = read_model(item, self._catalog, self._environ)
            if view.problem and (known is None or known[1].problem != view.problem):
                event(logger, "model_unreadable", level=logging.ERROR, namespace=view.namespace,
                      resource=view.name, error=view.problem)  # fmt: skip
        self._known[key] = digest, view
        if self._details is not None:
            self._details.put(key, item)
        return view

    def forget(self, key: Key) -> None:
        """Drop a resource that was deleted."""
        self._known.pop(key, None)
        if self._details is not None:
            self._details.forget(key)


def _digest(value: object) -> bytes:
    """A digest of JSON data; empty if it is nested too deeply to be written."""
    try:
        return hashlib.blake2b(orjson.dumps(value), digest_size=16).digest()
    except orjson.JSONEncodeError:
        return b""
