"""Leftovers of a killed run are removed by the next one."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from harness import leftovers
from harness.paths import CLUSTER
from harness.run import CGROUP_PREFIX, runs_root
from support.required import require_root
from support.waiting import until

KILLED_RUN = textwrap.dedent("""
    import sys, time
    sys.path[:0] = {path!r}
    from harness.process import Process
    from harness.run import Run
    run = Run()
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    Process(run, "kept", ["setsid", "--fork", sys.executable, "-c", stubborn])
    print(run.folder, flush=True)
    time.sleep(600)
""")


@pytest.fixture
def killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a run whose process was killed while a child still runs."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    command = [sys.executable, "-c", KILLED_RUN.format(path=[str(CLUSTER), str(CLUSTER.parent)])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())

        def child_runs() -> bool:
            assert process.poll() is None
            for marked in leftovers.marked(folder):
                # The parent that `setsid --fork` leaves may end between the two reads.
                with suppress(psutil.Error):
                    if "setsid" not in marked.cmdline()[0]:
                        return True
            return False

        until(child_runs)
        process.send_signal(signal.SIGKILL)
    return folder


def test_a_killed_run_is_found_and_removed(killed: Path) -> None:
    (left,) = leftovers.marked(killed)
    assert leftovers.sweep() == [killed.name]
    assert not left.is_running() or left.status() == psutil.STATUS_ZOMBIE
    assert not killed.exists()
    assert leftovers.sweep() == []


def test_control_groups_of_a_killed_run_are_removed(killed: Path) -> None:
    from harness import control_groups

    require_root()
    name = CGROUP_PREFIX + killed.name
    control_groups.create(name)
    groups = list(leftovers.control_groups(name))
    weights = {file.name: int(file.read_text()) for group in groups for file in group.glob("cpu.*")
               if file.name in ("cpu.shares", "cpu.weight")}  # fmt: skip
    assert weights in ({"cpu.shares": 8192}, {"cpu.weight": 800}), "pods starve beside other tests"
    # Like a container it has no mark: only its control group identifies the run.
    with subprocess.Popen(["sleep", "600"], env={}) as pod:
        inner = groups[0] / "pods"
        inner.mkdir()
        (inner / "cgroup.procs").write_text(str(pod.pid))
        leftovers.sweep()
        assert not psutil.pid_exists(pod.pid)
    assert list(leftovers.control_groups(name)) == []


def test_a_running_run_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.run import Run

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    run = Run()
    assert leftovers.sweep() == []
    assert run.folder.exists()
    run.close()
    assert list(runs_root().iterdir()) == []
