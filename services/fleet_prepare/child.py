"""Runs one conversion in a process of its own, so that its memory is released.

    python -m fleet_prepare.child

One JSON object on standard input describes the conversion; this process exits when the input ends.
Events are JSON lines on standard output: {"done": bytes, "total": bytes or null}, then
{"finished": true}, {"error": message, "hint": hint}, {"errno": number, "error": message} or
{"out_of_memory": true}.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any, TextIO

from fleet_prepare.conversion import Conversion
from fleet_weights.errors import WeightsError

INTERVAL_SECONDS = 0.1
ORPHANED_STATUS = 4
FAILED_STATUS = 1


class EventWriter:
    """Writes events; progress at most every tenth of a second, and when it is complete."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._last = 0.0

    def progress(self, done: int, total: int | None) -> None:
        now = time.monotonic()
        if now - self._last < INTERVAL_SECONDS and done != total:
            return
        self._last = now
        self.write({"done": done, "total": total})

    def write(self, event: dict[str, Any]) -> None:
        print(json.dumps(event), file=self._out, flush=True)


def main() -> int:
    """Run the conversion described on standard input; return the exit status."""
    # Libraries print to standard output, which carries events only.
    events = EventWriter(os.fdopen(os.dup(1), "w", encoding="utf-8"))
    os.dup2(2, 1)
    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_input, daemon=True).start()
    conversion = Conversion(
        Path(job["source"]), Path(job["target"]), job["quantization"],
        events.progress, lambda: None, job.get("options", {}),
    )  # fmt: skip
    try:
        importlib.import_module(job["module"]).convert(conversion)
    except WeightsError as error:
        events.write({"error": error.message, "hint": error.hint})
    except MemoryError:
        events.write({"out_of_memory": True})
    except OSError as error:
        events.write({"errno": error.errno, "error": str(error)})
    else:
        events.write({"finished": True})
        return 0
    return FAILED_STATUS


def _end_with_input() -> None:
    """Exit when the parent, which holds the other end of standard input, has died."""
    while os.read(0, 4096):
        pass
    os._exit(ORPHANED_STATUS)


if __name__ == "__main__":
    sys.exit(main())
