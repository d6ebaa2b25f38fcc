"""Requests to an OpenAI-compatible server, whose errors are texts for the user."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import httpx

from fleet_contract.names import HEADER_REQUEST_ID
from fleet_contract.safe_text import printable

CONNECT_SECONDS = 10.0
MAX_ERROR_BYTES = 64 * 1024
MAX_RESPONSE_BYTES = 256 * 1024 * 1024
MAX_LINE_BYTES = 1024 * 1024


class RequestFailed(Exception):
    """There is no complete response. The text has no control characters."""


class Server:
    """A context manager with one connection pool."""

    def __init__(self, base_url: str, key_env: str, timeout: float) -> None:
        """`base_url` is with or without `/v1`, `timeout` the seconds without data after which a
        request fails. Raises RequestFailed for an address or a key that HTTP cannot carry."""
        self._key_env = key_env
        self._root = f"{base_url.rstrip('/').removesuffix('/v1')}/v1"
        key = os.environ.get(key_env, "").strip()
        if not key.isascii() or not key.isprintable():
            raise RequestFailed(f"The key in the variable {key_env} is not printable ASCII.")
        if not base_url.startswith(("http://", "https://")):
            raise RequestFailed(f"{printable(base_url)} must begin with http:// or https://.")
        try:
            self._client = httpx.Client(
                base_url=self._root,
                headers={"authorization": f"Bearer {key}"} if key else {},
                timeout=httpx.Timeout(timeout, connect=CONNECT_SECONDS),
            )
        except httpx.InvalidURL as error:
            raise RequestFailed(f"{printable(base_url)}: {error}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get_json(self, path: str) -> dict[str, Any]:
        """The object at `path`, such as `/models`. Raises RequestFailed."""
        with self._response("GET", path) as response:
            return _object(_read(response))

    def post(self, path: str, **content: Any) -> bytes:
        """The body of the response; `content` is httpx's. Raises RequestFailed."""
        with self._response("POST", path, **content) as response:
            return _read(response)

    def post_json(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The object that is the response to a JSON body. Raises RequestFailed."""
        return _object(self.post(path, **_json(body)))

    def events(self, path: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The objects of a stream, as they arrive. Raises RequestFailed, also in mid-stream.

        A stream ends with `[DONE]` or, at servers that do not send it, after a finish reason.
        """
        ended = False
        with self._response("POST", path, **_json(body)) as response:
            for data in _data(response):
                if data == b"[DONE]":
                    return
                event = _object(data)
                if "error" in event:
                    raise RequestFailed(_described(event, response))
                ended = ended or _finished(event)
                yield event
            if not ended:
                raise RequestFailed(f"The stream ended early{_details(response)}.")

    @contextmanager
    def _response(self, method: str, path: str, **content: Any) -> Iterator[httpx.Response]:
        try:
            with self._client.stream(method, path, **content) as response:
                if response.status_code != 200:
                    raise RequestFailed(self._refusal(response))
                yield response
        except httpx.TimeoutException:
            raise RequestFailed(f"{printable(self._root)} does not respond (timeout).") from None
        except httpx.ConnectError as error:
            raise RequestFailed(
                f"{printable(self._root)}: {printable(str(error))}. Start the fleet with "
                "`modelfleet up`, or name its address with --base-url."
            ) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            reason = printable(str(error)) or type(error).__name__
            raise RequestFailed(f"{printable(self._root)}: {reason}") from None

    def _refusal(self, response: httpx.Response) -> str:
        """The message for a response with another status than 200."""
        try:
            body = _object(_read(response, MAX_ERROR_BYTES))
        except RequestFailed:
            body = {}
        text = _described(body, response)
        if response.status_code == 401:
            text += f" Set an API key in the variable {self._key_env}."
        return text


def _json(body: dict[str, Any]) -> dict[str, Any]:
    """`body` as httpx's arguments; its own encoding fails for lone surrogates."""
    return {"content": json.dumps(body).encode(), "headers": {"content-type": "application/json"}}


def _data(response: httpx.Response) -> Iterator[bytes]:
    """The data of each server-sent event; comments and other fields are skipped."""
    rest = b""
    for piece in response.iter_bytes():
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                yield line[5:].strip()
        if len(rest) > MAX_LINE_BYTES:
            raise RequestFailed(f"An event of the stream is too large{_details(response)}.")


def _read(response: httpx.Response, most: int = MAX_RESPONSE_BYTES) -> bytes:
    raw = bytearray()
    for piece in response.iter_bytes():
        raw += piece
        if len(raw) > most:
            raise RequestFailed(f"The response is too large{_details(response)}.")
    return bytes(raw)


def _object(raw: bytes) -> dict[str, Any]:
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        raise RequestFailed("The response is not JSON.") from None
    if not isinstance(found, dict):
        raise RequestFailed("The response is not a JSON object.")
    return found


def _finished(event: dict[str, Any]) -> bool:
    choices = event.get("choices")
    return isinstance(choices, list) and any(
        isinstance(choice, dict) and choice.get("finish_reason") for choice in choices
    )


def _described(body: dict[str, Any], response: httpx.Response) -> str:
    """The message of an OpenAI error, with status, request id and time until a retry."""
    error = body.get("error")
    message = error.get("message") if isinstance(error, dict) else error
    text = printable(message).rstrip(".") if isinstance(message, str) else ""
    return f"{text or 'The request failed'}{_details(response)}."


def _details(response: httpx.Response) -> str:
    details = [] if response.status_code == 200 else [f"HTTP {response.status_code}"]
    if identifier := response.headers.get(HEADER_REQUEST_ID):
        details.append(f"request id {printable(identifier)}")
    if seconds := response.headers.get("retry-after"):
        details.append(f"retry after {printable(seconds)} s")
    return f" ({', '.join(details)})" if details else ""
