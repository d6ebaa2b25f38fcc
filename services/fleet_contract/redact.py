"""Removes secrets of addresses from text: queries, as of presigned URLs, and passwords."""

from __future__ import annotations

import re

_QUERY = re.compile(r"(https?://[^\s?#'\"<>\\]+)\?[^\s'\"<>\\]+", re.IGNORECASE)
_USER = re.compile(r"(https?://)[^/\s@'\"<>\\]+@", re.IGNORECASE)


def redacted(text: str) -> str:
    """`text` with `?...` in place of the query of each http(s) URL in it, and `...@` in place of
    user and password."""
    if "://" not in text:
        return text
    if "@" in text:
        text = _USER.sub(r"\1...@", text)
    return _QUERY.sub(r"\1?...", text) if "?" in text else text
