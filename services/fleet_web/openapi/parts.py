"""The shared parts of documents: error responses, headers, parameters, security."""

from __future__ import annotations

from typing import Any

from fleet_contract.names import (
    HEADER_COLD,
    HEADER_DECODE_MS,
    HEADER_ENDPOINT,
    HEADER_FIRST_TOKEN_MS,
    HEADER_MODEL,
    HEADER_PROMPT_MS,
    HEADER_QUEUE_MS,
    HEADER_REQUEST_ID,
    HEADER_UNENFORCED,
)

Json = dict[str, Any]

STATUSES = {
    400: "The request is invalid or not supported by the model; `param` names the field.",
    401: "The API key is missing or unknown.",
    403: "The API key may not use this model.",
    404: "The model or path does not exist.",
    408: "The request did not arrive in time.",
    413: "The body or recording is too large.",
    415: "The content encoding of the body is not supported.",
    429: "The queue is full, or a limit of the API key is reached.",
    431: "The head of the request, or the framing of its body, is too large.",
    500: "Internal error.",
    502: "The model's server closed the connection.",
    503: "No server of the model is ready.",
    504: "The response took too long.",
    507: "The router has no disk space for the upload.",
    508: "The request passed too many routers.",
}
RETRY = frozenset({429, 503})
"""Statuses that may have headers for a retry."""

TEXT: Json = {"type": "string"}
MS: Json = {"type": "number", "minimum": 0}
HEADERS: dict[str, tuple[str, Json]] = {
    HEADER_REQUEST_ID: ("The request's id: the client's, or a generated one.", TEXT),
    HEADER_MODEL: ("The model that served the request.", TEXT),
    HEADER_ENDPOINT: ("The server that served the request.", TEXT),
    HEADER_QUEUE_MS: ("Milliseconds in the queue.", MS),
    HEADER_PROMPT_MS: ("Milliseconds from the start of the generation to its first token.", MS),
    HEADER_FIRST_TOKEN_MS: ("Milliseconds from the request's arrival to the first token.", MS),
    HEADER_DECODE_MS: ("Milliseconds from the first token to the last.", MS),
    HEADER_COLD: ("Whether the request waited for a server to start.", {"type": "boolean"}),
    HEADER_UNENFORCED: ("The keywords of a schema that the text need not follow.", TEXT),
    "retry-after": ("Seconds until a retry.", {"type": "integer", "minimum": 1}),
    "retry-after-ms": ("Milliseconds until a retry.", {"type": "integer", "minimum": 1}),
}
PARAMETERS: dict[str, Json] = {
    "model_id": {
        "name": "model_id", "in": "path", "required": True, "schema": TEXT | {"minLength": 1},
        "description": "Id or alias.",
    },
    HEADER_REQUEST_ID: {
        "name": HEADER_REQUEST_ID, "in": "header", "schema": TEXT,
        "description": "Id of the request in its response and in logs: up to 128 letters, digits "
        "and `._:-`; any other value is replaced.",
    },
}  # fmt: skip
SECURITY: dict[str, Json] = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
}


def header(name: str, *, always: bool) -> Json:
    """A Header Object of responses."""
    description, schema = HEADERS[name]
    return {"description": description, "required": always, "schema": schema}


def event(data: Json, terminator: str | None) -> Json:
    """The schema of one event, with which OpenAPI 3.1 describes a stream."""
    text = TEXT | {"contentMediaType": "application/json", "contentSchema": data}
    if terminator is not None:
        text = {"anyOf": [text, {"const": terminator}]}
    return {"type": "object", "properties": {"data": text}, "required": ["data"]}


def error(status: int, schema: Json) -> Json:
    """A Response Object of an error."""
    names = [HEADER_REQUEST_ID, *(("retry-after", "retry-after-ms") if status in RETRY else ())]
    return {
        "description": STATUSES[status],
        "headers": {name: header(name, always=False) for name in names},
        "content": {"application/json": {"schema": schema}},
    }
