"""Why a model could not be loaded; raised by engines, shown by whoever started the server."""

from __future__ import annotations


class LoadError(Exception):
    """`message` says what is wrong, `hint` what to do about it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(f"{message} {hint}".strip())
        self.message = message
        self.hint = hint
