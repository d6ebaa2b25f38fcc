"""Processes of an engine's library after the server was killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil

SERVER = """\
import multiprocessing, time
from fleet_server.engines.parent_death import follow_parent

def work(pipe):
    follow_parent()
    pipe.send(None)
    while True:  # holds the interpreter lock as often as it gets it
        pass

if __name__ == "__main__":
    follow_parent()  # without effect here
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=work, args=(theirs,))
    child.start()
    ours.recv()
    print(child.pid, flush=True)
    time.sleep(60)
"""


def test_a_child_ends_with_a_server_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "server.py"
    script.write_text(SERVER)
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        child = psutil.Process(int(server.stdout.readline()))
        assert child.is_running()
        server.kill()
        server.wait()
        _, alive = psutil.wait_procs([child], timeout=20)
    for each in alive:
        each.kill()
    assert not alive
