"""One child process of a fleet: started, waited for, ended. Called by `service`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence


class Lifeline:
    """A pipe whose writing end only this process holds: children see it end when we do."""

    def __init__(self) -> None:
        self.reader, self._writer = os.pipe()

    def close(self) -> None:
        """Let go of both ends."""
        os.close(self.reader)
        os.close(self._writer)


class Process:
    """A running child. It leads a session of its own: a terminal's Ctrl-C reaches only us."""

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
        """`python -m module arguments`, its output going to `output`, tied to our life.

        Must be called on the main thread, whose end the kernel would take for ours.
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
        """Done when it ended."""
        return self._ended

    async def ended(self, within: float | None = None) -> bool:
        """Wait until it ended, for at most `within` seconds; whether it did."""
        await asyncio.wait((self._ended,), timeout=within)
        return self._ended.done()

    def terminate(self) -> None:
        """Ask it to finish what it does and to end."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it now, with whatever it started."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self.status is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    async def stop(self, grace: float) -> None:
        """Terminate it, and kill it when it still runs after `grace` seconds."""
        self.terminate()
        try:
            if not await self.ended(grace):
                self.kill()
                await self.ended()
        except asyncio.CancelledError:
            self.kill()
            raise
