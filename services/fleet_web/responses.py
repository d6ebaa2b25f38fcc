"""JSON responses, serialized by orjson."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from fastapi import Response


def json_response(
    content: Any, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """`content` as JSON, NumPy arrays and scalars included."""
    raw = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(raw, status, dict(headers or {}), "application/json")
