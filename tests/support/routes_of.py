"""Routes of a web app, and those an OpenAPI document describes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI


def routes_of(app: FastAPI) -> set[tuple[str, str]]:
    """Method and path of every route, a path's parameters by their names alone."""
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
        if nested is not None:  # a router that was included
            yield from _flat(nested.routes)
        else:
            yield route
