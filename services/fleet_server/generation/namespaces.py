"""Functions in namespaces, as OpenAI's responses have them.

No chat template has namespaces, so the model gets such a function under a name that begins with
that of the namespace.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

SEPARATOR = "__"
KIND = "namespace"


@dataclass(frozen=True, slots=True)
class Entry:
    """A function of a request and its place there. `introduction` is the description of its
    namespace, for the first function of one."""

    function: Any
    place: str
    namespace: str | None = None
    introduction: str = ""


def full_name(namespace: str | None, name: str) -> str:
    """The name under which the model gets a function."""
    return name if namespace is None else prefix(namespace) + name


def prefix(namespace: str) -> str:
    """What the names of a namespace's functions begin with."""
    return namespace.removesuffix(SEPARATOR) + SEPARATOR


def is_namespace(entry: Any) -> bool:
    """Whether an entry of `tools` is a namespace instead of a function."""
    return isinstance(entry, dict) and entry.get("type") == KIND


def entries(raw: Sequence[Any], *, namespaces: bool) -> Iterator[Entry]:
    """The functions in `tools` and, with `namespaces`, within them, whose fields have been
    checked."""
    for index, entry in enumerate(raw):
        place = f"tools[{index}]"
        if not (namespaces and is_namespace(entry)):
            yield Entry(entry, place)
            continue
        introduction = entry.get("description") or ""
        for number, function in enumerate(entry["tools"]):
            yield Entry(function, f"{place}.tools[{number}]", entry["name"], introduction)
            introduction = ""
