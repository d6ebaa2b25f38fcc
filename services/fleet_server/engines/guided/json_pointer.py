"""The part of a JSON Schema that a reference leads to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def resolve(reference: str, root: Any) -> Any:
    """The part of `root` at `#`, or at a pointer such as `#/$defs/Place` (RFC 6901, section 6);
    None if there is none."""
    if reference != "#" and not reference.startswith("#/"):
        return None
    found = root
    for part in reference.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        found = found.get(key) if isinstance(found, Mapping) else None
    return found
