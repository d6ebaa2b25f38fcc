"""The error of a model that cannot be loaded."""

from __future__ import annotations


class LoadError(Exception):
    """`message` states the cause, `hint` the remedy."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(f"{message} {hint}".strip())
        self.message = message
        self.hint = hint
