"""GET /openapi.json, written once when it is first asked for. Mounted by both web apps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import cache

import orjson
from fastapi import Response

from fleet_web.openapi.parts import Json


class Serving:
    """Answers with the document that `build` makes."""

    def __init__(self, build: Callable[[], Json]) -> None:
        self._raw = cache(lambda: orjson.dumps(build()))

    async def answer(self) -> Response:
        """The document."""
        return Response(await asyncio.to_thread(self._raw), media_type="application/json")
