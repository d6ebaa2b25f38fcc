"""What the operations of a document refer to: error answers, headers, parameters."""

from __future__ import annotations

from typing import Any

from fleet_contract.names import (
    HEADER_COLD,
    HEADER_ENDPOINT,
    HEADER_MODEL,
    HEADER_QUEUE_MS,
    HEADER_REQUEST_ID,
)

Json = dict[str, Any]

STATUSES = {
    400: "What was sent is wrong, or this model cannot do it; `param` names the field.",
    401: "An API key is needed, or the one shown is not known.",
    403: "The API key may not use this model.",
    404: "There is no such model or path.",
    408: "The request made no progress.",
    413: "The body or recording is larger than is accepted.",
    429: "Too many requests: the queue is full, or a limit of the key is reached.",
    431: "The head of the request is too long.",
    500: "A failure of the server's own.",
    502: "The model's server broke off.",
    503: "The model has no server that answers now.",
    504: "The answer took too long.",
}
RETRY = frozenset({429, 503})
"""Statuses that may say when to try again."""

TEXT: Json = {"type": "string"}
HEADERS: dict[str, tuple[str, Json]] = {
    HEADER_REQUEST_ID: ("The request's id: the client's own, or one that was made.", TEXT),
    HEADER_MODEL: ("The model that answered.", TEXT),
    HEADER_ENDPOINT: ("The server that answered.", TEXT),
    HEADER_QUEUE_MS: ("Milliseconds waited for a place.", {"type": "number", "minimum": 0}),
    HEADER_COLD: ("Whether the request waited for a server to start.", {"type": "boolean"}),
    "retry-after": ("Seconds after which to try again.", {"type": "integer", "minimum": 1}),
    "retry-after-ms": ("The same in milliseconds.", {"type": "integer", "minimum": 1}),
}
PARAMETERS: dict[str, Json] = {
    "model_id": {
        "name": "model_id", "in": "path", "required": True, "schema": TEXT | {"minLength": 1},
        "description": "Id or alias.",
    },
    HEADER_REQUEST_ID: {
        "name": HEADER_REQUEST_ID, "in": "header", "schema": TEXT,
        "description": "Names the request in answers and logs: up to 128 letters, digits and "
        "`._:-`; another is replaced.",
    },
}  # fmt: skip
SECURITY: dict[str, Json] = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
}


def header(name: str, *, always: bool) -> Json:
    """A header of answers."""
    description, schema = HEADERS[name]
    return {"description": description, "required": always, "schema": schema}


def event(data: Json, mark: str | None) -> Json:
    """One of the events of a stream, by which 3.1 describes the whole; `mark` ends it."""
    text = TEXT | {"contentMediaType": "application/json", "contentSchema": data}
    if mark is not None:
        text = {"anyOf": [text, {"const": mark}]}
    return {"type": "object", "properties": {"data": text}, "required": ["data"]}


def error(status: int, schema: Json) -> Json:
    """An answer in the one shape of errors."""
    names = [HEADER_REQUEST_ID, *(("retry-after", "retry-after-ms") if status in RETRY else ())]
    return {
        "description": STATUSES[status],
        "headers": {name: header(name, always=False) for name in names},
        "content": {"application/json": {"schema": schema}},
    }
