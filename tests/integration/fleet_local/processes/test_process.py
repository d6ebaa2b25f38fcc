"""Real child processes: start, stop and end of the parent."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import psutil
import pytest

from fleet_local.output.log_output import LogFile
from fleet_local.processes.process import Lifeline, Process

SECONDS = 120
Start = Callable[..., Awaitable[Process]]
WaitForText = Callable[[str], Awaitable[None]]


@pytest.fixture
def lifeline() -> Lifeline:
    return Lifeline()


@pytest.fixture
async def start(tmp_path: Path, lifeline: Lifeline) -> AsyncIterator[Start]:
    """Run a script as a child with its output in `output.log`."""
    started: list[Process] = []
    log = LogFile(tmp_path / "output.log")

    async def run(script: str, *arguments: str) -> Process:
        (tmp_path / "script.py").write_text(textwrap.dedent(script))
        environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
        output = log.open()
        process = await Process.start("script", arguments, environ, output, lifeline)
        os.close(output)
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        await process.ended()
    lifeline.close()


@pytest.fixture
def wait_for_text(
    tmp_path: Path, until: Callable[..., Awaitable[None]]
) -> Callable[[str], Awaitable[None]]:
    """Wait until the child has written a text."""
    return lambda text: until(lambda: text in (tmp_path / "output.log").read_text())


SLEEPER = """
    import sys, time
    print("begun", sys.argv[1:], flush=True)
    time.sleep(600)
"""
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + textwrap.dedent(SLEEPER)


async def test_output_arguments_and_status(tmp_path: Path, start: Start) -> None:
    process = await start("import sys; print(sys.argv); sys.exit(7)", "--port", "1")
    assert await process.ended(SECONDS)
    assert process.status == 7
    assert "'--port', '1'" in (tmp_path / "output.log").read_text()


async def test_a_running_process_has_no_status(start: Start, wait_for_text: WaitForText) -> None:
    process = await start(SLEEPER)
    await wait_for_text("begun")
    assert not await process.ended(0.01)
    assert process.status is None


async def test_a_child_leads_its_own_session_and_reads_nothing(
    start: Start, wait_for_text: WaitForText
) -> None:
    process = await start(
        """
        import sys, time
        print("input", repr(sys.stdin.read()), flush=True)
        time.sleep(600)
        """
    )
    await wait_for_text("input ''")
    assert os.getsid(process.pid) == process.pid != os.getsid(0)


async def test_stop_sends_sigterm_first(start: Start, wait_for_text: WaitForText) -> None:
    process = await start(SLEEPER)
    await wait_for_text("begun")
    await process.stop(SECONDS)
    assert process.status == -signal.SIGTERM


async def test_stop_kills_a_child_that_ignores_sigterm(
    start: Start, wait_for_text: WaitForText
) -> None:
    process = await start(DEAF)
    await wait_for_text("begun")
    await process.stop(0.2)
    assert process.status == -signal.SIGKILL


async def test_kill_ends_descendants(
    start: Start, wait_for_text: WaitForText, tmp_path: Path
) -> None:
    process = await start(
        """
        import subprocess, sys, time
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        print("child", child.pid, "begun", flush=True)
        time.sleep(600)
        """
    )
    await wait_for_text("begun")
    grandchild = psutil.Process(int((tmp_path / "output.log").read_text().split()[1]))
    process.kill()
    await process.ended()
    assert have_ended([grandchild])


async def test_stopping_twice(start: Start) -> None:
    process = await start("pass")
    await process.ended(SECONDS)
    await process.stop(1)
    process.kill()
    assert process.status == 0


PARENT = """
    import asyncio, os, sys
    from fleet_local.processes.process import Lifeline, Process

    async def main():
        lifeline = Lifeline()
        children = [await Process.start("sleeper", [], os.environ, 1, lifeline) for _ in range(3)]
        print("children", *(child.pid for child in children), flush=True)
        await asyncio.sleep(600)

    asyncio.run(main())
"""
PIPE_PARENT = """
    import os, subprocess, sys, time
    reader, writer = os.pipe()
    code = "import time; from fleet_local.processes.child import die_by_pipe; die_by_pipe(%d); "
    code = code % reader + "print('watching', flush=True); time.sleep(600)"
    child = subprocess.Popen([sys.executable, "-c", code], pass_fds=[reader],
                             stdout=subprocess.PIPE, text=True, start_new_session=True)
    child.stdout.readline()
    print("children", child.pid, flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("parent", [PARENT, PIPE_PARENT], ids=["as on this system", "by pipe"])
async def test_children_end_when_their_parent_is_killed(tmp_path: Path, parent: str) -> None:
    (tmp_path / "sleeper.py").write_text(textwrap.dedent(DEAF))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", textwrap.dedent(parent),
        stdout=asyncio.subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert process.stdout is not None
    async with asyncio.timeout(SECONDS):
        while (line := (await process.stdout.readline()).split())[:1] != [b"children"]:
            assert line, "the parent exited too early"
    children = [psutil.Process(int(pid)) for pid in line[1:]]
    process.kill()
    await process.wait()
    assert have_ended(children)


def have_ended(processes: list[psutil.Process]) -> bool:
    """Whether all processes end in time; an unreaped zombie has ended."""
    _, alive = psutil.wait_procs(processes, timeout=SECONDS)
    return all(one.status() == psutil.STATUS_ZOMBIE for one in alive)
