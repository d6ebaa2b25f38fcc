"""Runs a module in this process, which ends when its parent process ends.

    python -m fleet_local.processes.child PARENT_PID LIFELINE_FD MODULE [ARGUMENT ...]

Even a killed `modelfleet up` then leaves no server behind. On Linux the kernel sends a signal
(prctl(2), PR_SET_PDEATHSIG); elsewhere a thread reads the lifeline, a pipe whose other end only
the parent has open.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys
import threading

PR_SET_PDEATHSIG = 1
ORPHANED_STATUS = 4


def main(argv: list[str]) -> None:
    """Tie this process to its parent and run the module."""
    parent, lifeline, module = int(argv[1]), int(argv[2]), argv[3]
    if sys.platform == "linux":
        die_by_signal(parent)
    else:
        die_by_pipe(lifeline)
    sys.argv = [module, *argv[4:]]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def die_by_signal(parent: int) -> None:
    """Have the kernel kill this process when the thread that started it ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:  # it ended before the call
        os._exit(ORPHANED_STATUS)


def die_by_pipe(lifeline: int) -> None:
    """Watch the pipe from a thread and end this process at its end."""

    def watch() -> None:
        while os.read(lifeline, 1):
            pass
        os._exit(ORPHANED_STATUS)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()


if __name__ == "__main__":
    main(sys.argv)
