"""A tool call that was read from generated text, and its arguments as JSON."""

from __future__ import annotations

import json
import secrets
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Schemas = Mapping[str, Mapping[str, Any]]
"""The JSON Schema of the arguments of each tool, by name."""
LETTERS = string.ascii_letters + string.digits
SHORT = 9
"""Mistral's templates refuse ids that are not nine letters and digits."""


@dataclass(frozen=True, slots=True)
class Call:
    """`arguments` is the text of a JSON object."""

    name: str
    arguments: str


NewId = Callable[[], str]


def long_id() -> str:
    """An id as OpenAI's API generates them."""
    return "call_" + "".join(secrets.choice(LETTERS) for _ in range(24))


def short_id() -> str:
    return "".join(secrets.choice(LETTERS) for _ in range(SHORT))


def call(name: Any, arguments: Any, schemas: Schemas) -> Call | None:
    """A call of a known tool; None if the tool is unknown or the arguments are not an object that
    can be written as JSON. A text of a JSON object is that object."""
    if not isinstance(name, str) or name not in schemas:
        return None
    if isinstance(arguments, str):
        arguments = parse(arguments)
    if not isinstance(arguments, dict):
        return None
    text = written(arguments)
    return None if text is None else Call(name, text)


def parse(text: str) -> Any:
    """The JSON value, or None. Line ends in strings are accepted, as models write them."""
    try:
        return json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None


def parse_from(text: str, start: int) -> tuple[Any, int] | None:
    """The JSON value that begins at `start`, and its end; None if there is none."""
    try:
        return _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError):
        return None


def written(value: Any) -> str | None:
    """The value as JSON in UTF-8; None for infinite numbers and endless nesting."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate, which JSON can only hold escaped
        return json.dumps(value, allow_nan=False)
    except (ValueError, RecursionError):
        return None
    return text


_DECODER = json.JSONDecoder(strict=False)
