"""The exit status of a process as text and as the error of a failed start."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from fleet_contract.server_protocol import LOAD_FAILED_STATUS
from fleet_local.errors import StartError
from fleet_local.processes.server_events import load_failure

SHOWN_LINES = 12


def describe(status: int) -> str:
    """`ended with status 1` or `was killed by SIGKILL`; a signal is a negative status."""
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"


def start_failure(name: str, status: int, lines: Sequence[str], log: str) -> StartError:
    """The error of a process that ended before it was ready; `log` is where its log is."""
    hint = f"Its log: {log}"
    if status == LOAD_FAILED_STATUS and (reason := load_failure(lines)):
        return StartError(reason, hint)
    if status == -signal.SIGKILL:
        hint = f"Probably the memory ran out: use smaller models or fewer. {hint}"
    return StartError(f"{name} {describe(status)} before it was ready.", hint, last_lines(lines))


def last_lines(lines: Sequence[str]) -> tuple[str, ...]:
    """The last lines that are not blank."""
    return tuple(line for line in lines if line.strip())[-SHOWN_LINES:]
