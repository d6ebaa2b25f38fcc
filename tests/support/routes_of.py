"""Routes of a web app, and those described by an OpenAPI document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI


def routes_of(app: FastAPI) -> set[tuple[str, str]]:
    """Method and path of every route, with the names of path parameters only."""
    return {
        (method.lower(), route.path.replace(":path}", "}"))
        for route in _flat(app.routes)
        for method in route.methods or ()
        if method != "HEAD"
    }


def described(document: dict[str, Any]) -> set[tuple[str, str]]:
    """Method and path of every operation of an OpenAPI document."""
    return {(method, path) for path, item in document["paths"].items() for method in item}


def _flat(routes: Any) -> Iterator[Any]:
    for route in routes:
        nested = getattr(route, "original_router", None)
        if nested is not None:  # an included router
            yield from _flat(nested.routes)
        else:
            yield route
