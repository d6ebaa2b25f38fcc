"""The recordings in the messages of a chat, and texts in their places.

Format: `input_audio` parts of OpenAI's chat completions, with `data` in base64 and `format`.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from fleet_contract.errors import BadRequest
from fleet_web.request_body.json_body import Data, parse_json

KIND = "input_audio"
MOST = 8
FORMAT = re.compile("[a-z0-9]{1,8}")


@dataclass(frozen=True, slots=True)
class Recording:
    """`data` is a file in a `format` such as wav; `place` is that of its part in the request."""

    place: str
    data: bytes
    format: str


def may_have_recordings(data: Data) -> bool:
    """Whether any part of a message may be a recording. Names with escaped letters are not found:
    the server refuses them."""
    return b'"input_audio"' in data


class RecordedChat:
    """A chat with recordings."""

    def __init__(self, data: Data) -> None:
        """Raises BadRequest if `data` is no JSON object within the limits, and for recordings that
        cannot be read."""
        self._body = parse_json(data)
        found = list(_parts(self._body))
        if len(found) > MOST:
            raise BadRequest(
                f"The messages have {len(found)} recordings; at most {MOST} are transcribed in one "
                f"request.",
                param=found[MOST][0],
            )
        self._parts = [part for _, part in found]
        self.recordings: list[Recording] = []
        for place, part in found:
            self.recordings.append(_read(place, part))
            part.clear()  # its base64 would take as much memory again

    def with_texts(self, texts: Sequence[str]) -> bytes:
        """The JSON of the chat, with a text in place of each recording."""
        for part, text in zip(self._parts, texts, strict=True):
            part.update(type="text", text=text)
        return orjson.dumps(self._body)


def _parts(body: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The parts of messages that are recordings; the server refuses messages of other shapes."""
    messages = body.get("messages")
    for index, message in enumerate(messages if isinstance(messages, list) else ()):
        content = message.get("content") if isinstance(message, dict) else None
        for number, part in enumerate(content if isinstance(content, list) else ()):
            if isinstance(part, dict) and part.get("type") == KIND:
                yield f"messages[{index}].content[{number}]", part


def _read(place: str, part: dict[str, Any]) -> Recording:
    given = part.get(KIND)
    if not isinstance(given, dict):
        raise _invalid(f"{place}.{KIND}", "must be an object")
    data, kind = given.get("data"), given.get("format")
    if not isinstance(kind, str) or not FORMAT.fullmatch(kind):
        raise _invalid(f"{place}.{KIND}.format", "must be the name of a format, such as wav or mp3")
    if not isinstance(data, str) or not data:
        raise _invalid(f"{place}.{KIND}.data", "must be a recording in base64")
    try:
        return Recording(place, base64.b64decode(data, validate=True), kind)
    except (binascii.Error, ValueError):
        raise _invalid(f"{place}.{KIND}.data", "is not valid base64") from None


def _invalid(place: str, why: str) -> BadRequest:
    return BadRequest(f"'{place}' {why}.", param=place, code="invalid_value")
