"""The body of an error in the format of its path: OpenAI's, or Anthropic's on its paths.

Anthropic's error types: docs.anthropic.com/en/api/errors.
"""

from __future__ import annotations

from fleet_contract.api.base import ErrorBody
from fleet_contract.api.message_events import ErrorType, MessageError, MessageErrorBody
from fleet_contract.errors import FleetError, ThreadsUnsupported

ANTHROPIC_PATHS = frozenset({"/v1/messages", "/v1/messages/count_tokens"})

_TYPES: dict[int, ErrorType] = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


def error_body(error: FleetError, path: str) -> ErrorBody | MessageErrorBody:
    """The error as the body of a response at `path`."""
    return message_error(error) if path in ANTHROPIC_PATHS else error.body()


def message_error(error: FleetError) -> MessageErrorBody:
    """The error in Anthropic's format."""
    other: ErrorType = "invalid_request_error" if error.status < 500 else "api_error"
    kind = _TYPES.get(error.status, other)
    body: MessageError = {
        "type": kind, "message": error.message, "param": error.param, "code": error.code,
    }  # fmt: skip
    if isinstance(error, ThreadsUnsupported):
        body["details"] = {
            "error_code": ThreadsUnsupported.default_code, "unsupported": [str(error.param)],
        }  # fmt: skip
    return {"type": "error", "error": body}
