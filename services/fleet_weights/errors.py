"""Errors of fetching weights."""

from __future__ import annotations

from fleet_contract.safe_text import printable_lines, redacted


class WeightsError(Exception):
    """`message` is the reason, `hint` what to do; neither contains secrets: queries of URLs are
    removed, since those of presigned ones are passwords."""

    def __init__(self, message: str, hint: str = "") -> None:
        # Parts of it are responses of servers.
        message, hint = printable_lines(redacted(message)), redacted(hint)
        super().__init__(f"{message} {hint}".strip())
        self.message = message
        self.hint = hint


class NoRoom(WeightsError):
    """Weights that exceed the limit of a folder from which nothing may be deleted."""


class Stopped(WeightsError):
    """A fetch that the caller stopped; partial downloads are kept."""

    def __init__(self) -> None:
        super().__init__("The download was stopped.", "It is resumed when started again.")
