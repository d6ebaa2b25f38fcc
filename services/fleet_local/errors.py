"""The error of a fleet that cannot start."""

from __future__ import annotations


class StartError(Exception):
    """`message` is the reason, `hint` what to do, `output` the last lines of the failed process."""

    def __init__(self, message: str, hint: str = "", output: tuple[str, ...] = ()) -> None:
        super().__init__(f"{message} {hint}".strip())
        self.message = message
        self.hint = hint
        self.output = output
