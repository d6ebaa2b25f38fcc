"""Why weights could not be had; raised by fleet_weights, shown by whoever asked for them."""

from __future__ import annotations


class WeightsError(Exception):
    """`message` says what is wrong, `hint` what to do about it; neither ever holds a secret."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(f"{message} {hint}".strip())
        self.message = message
        self.hint = hint


class Stopped(WeightsError):
    """The caller asked for the end of a fetch; what was downloaded so far is kept."""

    def __init__(self) -> None:
        super().__init__("The download was stopped.", "It goes on from there when started again.")
