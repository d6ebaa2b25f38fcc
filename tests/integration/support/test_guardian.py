"""Processes of a killed test run are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from support.guardian import MARK, marked
from support.waiting import until

TESTS = Path(__file__).parents[2]
RUN = """
import os, subprocess, sys, time

def test_that_hangs():
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    child = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    os.write(1, f"{child.pid} {os.environ['MODELFLEET_TEST_SESSION']}\\n".encode())
    time.sleep(600)
"""


def test_a_killed_run_leaves_no_process(tmp_path: Path) -> None:
    (tmp_path / "test_run.py").write_text(RUN)
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "support.guardian", "test_run.py"]
    environ = {**os.environ, "PYTHONPATH": str(TESTS), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environ, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        pid, mark = run.stdout.readline().split()
        until(lambda: [one.pid for one in marked(mark)] == [int(pid)])
        run.send_signal(signal.SIGKILL)
    until(lambda: not marked(mark))
    assert not psutil.pid_exists(int(pid)) or psutil.Process(int(pid)).status() == "zombie"


def test_this_run_is_guarded() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        until(lambda: child.pid in [one.pid for one in marked(os.environ[MARK])])
