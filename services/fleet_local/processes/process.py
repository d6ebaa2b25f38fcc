"""A child process: started, waited for, ended with its descendants."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence


class Lifeline:
    """A pipe whose write end only this process has open: children read its end when we end."""

    def __init__(self) -> None:
        self.reader, self._writer = os.pipe()

    def close(self) -> None:
        """Close both ends."""
        os.close(self.reader)
        os.close(self._writer)


class Process:
    """A running child, in its own session: Ctrl-C of a terminal signals only this process."""

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        self._child = child
        self._ended = asyncio.ensure_future(child.wait())

    @classmethod
    async def start(
        cls,
        module: str,
        arguments: Sequence[str],
        environ: Mapping[str, str],
        output: int,
        lifeline: Lifeline,
    ) -> Process:
        """Run `python -m module arguments` with stdout and stderr on the descriptor `output`.

        Call it on the main thread: PR_SET_PDEATHSIG signals the child when the thread that started
        it ends, not the process.
        """
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "fleet_local.processes.child",
            str(os.getpid()), str(lifeline.reader), module, *arguments,
            env=dict(environ), stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output,
            pass_fds=(lifeline.reader,), start_new_session=True,
        )  # fmt: skip
        return cls(child)

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def status(self) -> int | None:
        """Exit status, negative for a signal; None while it runs."""
        return self._child.returncode

    @property
    def end(self) -> asyncio.Future[int]:
        """Done when the process has ended."""
        return self._ended

    async def ended(self, within: float | None = None) -> bool:
        """Wait at most `within` seconds for its end; whether it has ended."""
        await asyncio.wait((self._ended,), timeout=within)
        return self._ended.done()

    def terminate(self) -> None:
        """Send SIGTERM: finish running requests, then end."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL to the process and its descendants."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self.status is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    async def stop(self, grace: float) -> None:
        """Terminate it, and kill it if it still runs after `grace` seconds."""
        self.terminate()
        try:
            if not await self.ended(grace):
                self.kill()
                await self.ended()
        except asyncio.CancelledError:
            self.kill()
            raise
