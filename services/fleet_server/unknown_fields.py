"""Counts the unknown fields of a request, which are ignored."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from fleet_server.metrics import Metrics
from fleet_web.logs import event

logger = logging.getLogger(__name__)


def count_ignored(body: Mapping[str, Any], known: type[BaseModel], metrics: Metrics) -> None:
    """Count the fields of `body` that `known` does not have."""
    number = len(body.keys() - known.model_fields.keys())
    if number:
        metrics.ignored_fields(number)
        event(logger, "ignored_fields", number=number)
