"""Makes text safe to log and print: no secrets of addresses, no control characters."""

from __future__ import annotations

import re

_QUERY = re.compile(r"(https?://[^\s?#'\"<>\\]+)\?[^\s'\"<>\\]+", re.IGNORECASE)
_USER = re.compile(r"(https?://)[^/\s@'\"<>\\]+@", re.IGNORECASE)


def redacted(text: str) -> str:
    """`text` without secrets: `?...` in place of the query of each http(s) URL in it,
    as that of a presigned one, and `...@` in place of user and password."""
    if "://" not in text:
        return text
    if "@" in text:
        text = _USER.sub(r"\1...@", text)
    return _QUERY.sub(r"\1?...", text) if "?" in text else text


def printable(text: str) -> str:
    r"""`text` on one line: control and format characters are escaped as in Python, such as `\n`
    and `\x1b`. Text of clients can then neither forge log lines nor control a terminal."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else ascii(character)[1:-1] for character in text
    )


def printable_lines(text: str) -> str:
    """As `printable`, line by line."""
    return "\n".join(map(printable, text.split("\n")))
