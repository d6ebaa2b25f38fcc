"""Patterns of regular expressions that are the same language without look-around.

The automata of llguidance have no look-around. Zod writes it into the patterns of some formats
(colinhacks/zod, packages/zod/src/v4/core/regexes.ts).
"""

from __future__ import annotations

import re

LEADING = re.compile(r"\^\(\?=((?:[^()\\]|\\.)*)\)")
"""A look-ahead at the beginning that has no groups."""

KNOWN: dict[str, str] = {
    r"^(?!\.)(?!.*\.\.)([A-Za-z0-9_'+\-\.]*)[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\-]*\.)+[A-Za-z]{2,}$":
        r"^([A-Za-z0-9_'+\-]+\.)*[A-Za-z0-9_'+\-]*[A-Za-z0-9_+\-]@"
        r"([A-Za-z0-9][A-Za-z0-9\-]*\.)+[A-Za-z]{2,}$",
    r"^P(?:(\d+W)|(?!.*W)(?=\d|T\d)(\d+Y)?(\d+M)?(\d+D)?(T(?=\d)(\d+H)?(\d+M)?(\d+([.,]\d+)?S)?)?)$":
        r"^P(\d+W|(\d+Y(\d+M)?(\d+D)?|\d+M(\d+D)?|\d+D)?"
        r"T(\d+H(\d+M)?(\d+([.,]\d+)?S)?|\d+M(\d+([.,]\d+)?S)?|\d+([.,]\d+)?S)"
        r"|\d+Y(\d+M)?(\d+D)?|\d+M(\d+D)?|\d+D)$",
}  # fmt: skip
"""Of `z.email()` and `z.iso.duration()`."""


def without_look_around(pattern: str) -> list[str]:
    """Patterns that together match what `pattern` matches; `[pattern]` if there are none."""
    if pattern in KNOWN:
        return [KNOWN[pattern]]
    found: list[str] = []
    rest = pattern
    while (ahead := LEADING.match(rest)) is not None:
        # An alternation would begin at the text's beginning in its first branch only.
        found.append(f"^(?:{ahead[1]})")
        rest = "^" + rest[ahead.end() :]
    return [*found, rest] if found and _is_one_branch(rest) else [pattern]


def _is_one_branch(pattern: str) -> bool:
    """Whether there is no alternation outside of groups and classes."""
    depth, in_class, escaped = 0, False, False
    for letter in pattern:
        if escaped:
            escaped = False
        elif letter == "\\":
            escaped = True
        elif in_class:
            in_class = letter != "]"
        elif letter == "[":
            in_class = True
        elif letter in "()":
            depth += 1 if letter == "(" else -1
        elif letter == "|" and depth == 0:
            return False
    return True
