"""Why this machine cannot serve a model."""

from __future__ import annotations


class CannotServe(Exception):
    """`message` is the reason, `hint` what would make the model run."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(f"{message} {hint}".strip())
        self.message = message
        self.hint = hint
