"""The error of a comparison."""

from __future__ import annotations


class CannotCompare(Exception):
    """`message` is the reason, `hint` what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(f"{message} {hint}".rstrip())
        self.message = message
        self.hint = hint
