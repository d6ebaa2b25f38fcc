"""Runs a conversion in a child process: starts it, forwards its progress, ends it."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from fleet_prepare.converters import ConversionPlan
from fleet_weights.errors import WeightsError
from fleet_weights.secrets import without_secrets

POLL_SECONDS = 0.2
SHOWN_LINES = 8
TAIL_LINES = 50
MEMORY_HINT = "Convert it on a machine with more memory, or use a smaller model."
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "ORT_DISABLE_TELEMETRY": "1"}


def run(
    model: str,
    plan: ConversionPlan,
    source: Path,
    target: Path,
    environ: Mapping[str, str],
    progress: Callable[[int, int | None], None],
    check: Callable[[], None],
) -> None:
    """Convert `source` into the empty folder `target`; `model` is named in errors.

    `check` is called several times a second and cancels the conversion by raising. Raises
    WeightsError with the converter's reason, and OSError for errors of the file system.
    """
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "fleet_prepare.child"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**without_secrets(environ), **OFFLINE}, start_new_session=True,
    )  # fmt: skip
    assert process.stdin is not None  # noqa: S101  (a pipe was requested above)
    assert process.stdout is not None  # noqa: S101
    assert process.stderr is not None  # noqa: S101
    events: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    readers = [
        threading.Thread(target=_queue_lines, args=(process.stdout, events), daemon=True),
        threading.Thread(target=_collect_tail, args=(process.stderr, tail), daemon=True),
    ]
    for reader in readers:
        reader.start()
    try:
        _send(process.stdin, plan, source, target)
        outcome = _follow(events, progress, check)
        status = process.wait()
    finally:
        process.kill()
        process.wait()
        for reader in readers:
            reader.join()
        for pipe in (process.stdin, process.stdout, process.stderr):
            pipe.close()
    _raise_failure(model, plan, outcome, status, tail)


def _send(pipe: IO[bytes], plan: ConversionPlan, source: Path, target: Path) -> None:
    job = {
        "module": plan.module, "source": str(source.resolve()), "target": str(target.resolve()),
        "quantization": plan.quantization,
    }  # fmt: skip
    try:
        pipe.write(json.dumps(job).encode() + b"\n")
        pipe.flush()
    except BrokenPipeError:
        return  # it ended at once; its status and last lines are reported


def _follow(
    events: queue.SimpleQueue[bytes | None],
    progress: Callable[[int, int | None], None],
    check: Callable[[], None],
) -> dict[str, Any]:
    """Forward progress until the events end; return the last event that is not progress."""
    outcome: dict[str, Any] = {}
    while True:
        check()
        try:
            line = events.get(timeout=POLL_SECONDS)
        except queue.Empty:
            continue
        if line is None:
            return outcome
        event = json.loads(line)
        if "done" in event:
            progress(event["done"], event["total"])
        else:
            outcome = event


def _raise_failure(
    model: str, plan: ConversionPlan, outcome: dict[str, Any], status: int, tail: deque[str]
) -> None:
    if outcome.get("finished") and status == 0:
        return
    if outcome.get("errno") is not None:
        raise OSError(outcome["errno"], os.strerror(outcome["errno"]))
    if "error" in outcome:
        raise WeightsError(str(outcome["error"]), str(outcome.get("hint", "")))
    if outcome.get("out_of_memory"):
        raise WeightsError(f"The conversion of {model} ran out of memory.", MEMORY_HINT)
    if status == -signal.SIGKILL:
        raise WeightsError(
            f"The conversion of {model} was killed, probably because memory ran out.", MEMORY_HINT
        )
    lines = "\n".join(list(tail)[-SHOWN_LINES:])
    raise WeightsError(
        f"The conversion of {model} by {plan.module} ended with status {status}:\n{lines}"
    )


def _queue_lines(pipe: IO[bytes], events: queue.SimpleQueue[bytes | None]) -> None:
    for line in pipe:
        events.put(line)
    events.put(None)


def _collect_tail(pipe: IO[bytes], tail: deque[str]) -> None:
    for line in pipe:
        tail.append(line.decode("utf-8", "replace").rstrip())
