"""Interrupts of parallel downloads in a process."""

from __future__ import annotations

import signal
import subprocess
import sys


def test_an_interrupt_ends_a_process_with_a_silent_server() -> None:
    program = (
        "import signal, threading, sys\n"
        # A shell without job control starts background jobs with SIGINT ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from fleet_weights.transfer import parallel\n"
        "parallel.GRACE_SECONDS = 0.05\n"
        "def silent():\n"
        "    print('waiting', flush=True)\n"
        "    threading.Event().wait(600)\n"
        "try: parallel.run_all([silent], 1, lambda: None)\n"
        "except KeyboardInterrupt: sys.exit(130)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=180)
    assert process.returncode == 130
