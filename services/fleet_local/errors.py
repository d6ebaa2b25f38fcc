"""Why a fleet cannot start; shown by `command`, which ends with a non-zero status."""

from __future__ import annotations


class StartError(Exception):
    """`message` says what is wrong, `hint` what to do, `output` a process's last lines."""

    def __init__(self, message: str, hint: str = "", output: tuple[str, ...] = ()) -> None:
        super().__init__(f"{message} {hint}".strip())
        self.message = message
        self.hint = hint
        self.output = output
