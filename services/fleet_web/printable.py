"""Makes text safe to print on a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""`text` on one line: control and format characters are escaped as in Python, such as `\n`
    and `\x1b`. Text of clients can then neither forge log lines nor control a terminal."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else ascii(character)[1:-1] for character in text
    )
