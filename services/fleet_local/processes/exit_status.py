"""What a process's end means, in words. Pure; called by `service`."""

from __future__ import annotations

import json
import signal
from collections.abc import Sequence

from fleet_contract.server_protocol import LOAD_FAILED_EVENT, LOAD_FAILED_STATUS
from fleet_local.errors import StartError

SHOWN_LINES = 12


def ending(status: int) -> str:
    """`ended with status 1` or `was killed by SIGKILL`, for a status as `wait` gives it."""
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"


def start_failure(name: str, status: int, lines: Sequence[str], place: str) -> StartError:
    """Why a process that never got ready ended."""
    if status == LOAD_FAILED_STATUS and (reason := load_failure(lines)):
        return StartError(reason, f"Its log: {place}")
    hint = f"Its log: {place}"
    if status == -signal.SIGKILL:
        hint = f"Probably the memory ran out: use smaller models or fewer. {hint}"
    return StartError(f"{name} {ending(status)} before it was ready.", hint, last_lines(lines))


def load_failure(lines: Sequence[str]) -> str | None:
    """The message of the last `load_failed` event, of JSON or text lines."""
    for line in reversed(lines):
        try:
            event = json.loads(line)
        except ValueError:
            _, found, rest = line.partition(f" {LOAD_FAILED_EVENT} ")
            if found:
                return rest.partition("message=")[2] or rest
            continue
        if isinstance(event, dict) and event.get("event") == LOAD_FAILED_EVENT:
            return str(event.get("message", "The model could not be loaded."))
    return None


def last_lines(lines: Sequence[str]) -> tuple[str, ...]:
    """The end of a log, worth showing to somebody who has only that."""
    return tuple(line for line in lines if line.strip())[-SHOWN_LINES:]
