"""Every part of a valid body in turn, at any depth, replaced by a value of each kind or removed: a
body that is valid by the document is accepted, others are rejected.
"""

from __future__ import annotations

import copy
import http.client
from collections.abc import Iterator
from typing import Any

import pytest

from integration.fuzz import bodies, openapi_checks, raw_http

CASES = [
    pytest.param(path, valid, id=f"{path}-{n}") for n, (path, valid) in enumerate(bodies.VALID)
]
VALUES: list[Any] = [None, True, 0, -1, 1, 1.5, "", "x", "1", [], ["x"], [1], [[]], {}, {"x": 1}]
REMOVED = object()
SCHEMAS = openapi_checks.Schemas(("chat", "embedding", "rerank"))


def changed(valid: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The body with one of its parts changed."""
    for path in bodies.places(valid):
        for value in (*VALUES, REMOVED) if path else ():
            body: Any = copy.deepcopy(valid)
            parent = body
            for key in path[:-1]:
                parent = parent[key]
            if value is REMOVED:
                del parent[path[-1]]
            else:
                parent[path[-1]] = value
            yield body


@pytest.mark.parametrize(("path", "valid"), CASES)
def test_the_document_matches_every_value(fuzzed: Any, path: str, valid: dict[str, Any]) -> None:
    connection = http.client.HTTPConnection(
        "127.0.0.1", fuzzed.ports[valid["model"]], timeout=raw_http.TIMEOUT_SECONDS
    )
    refused = 0
    for body in changed(valid):
        raw = bodies.encoded(body, True)
        connection.request("POST", path, raw, {"content-type": "application/json"})
        answer = connection.getresponse()
        content = answer.read()
        SCHEMAS.agree(path, raw, answer.status, content)
        refused += answer.status != 200
    assert refused > 10
    connection.close()
