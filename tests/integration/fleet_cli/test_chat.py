"""`modelfleet chat` as a process in a terminal."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from fleet_cli.client.chat import PROMPT
from support.openai_target import target
from support.web import listen

__all__ = ["listen", "target"]

SECONDS = 180.0


class Terminal:
    """The command in a pseudo-terminal, which sends it SIGINT for Ctrl-C."""

    def __init__(self, *arguments: str) -> None:
        code = (
            "import os, signal; os.login_tty(0)\n"
            # As in a terminal, also where the tests run in the background, which ignores it.
            "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
            "from fleet_cli.main import main; main()"
        )  # fmt: skip
        self.fd, side = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            stdin=side, stdout=side, stderr=side, start_new_session=True,
            env=os.environ | {"TERM": "dumb"},
        )  # fmt: skip
        os.close(side)

    def send(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def until(self, text: str) -> None:
        """Wait until `text` is printed."""
        seen, ended = self._read(text, SECONDS)
        assert ended, seen

    def interrupt_prompt(self) -> None:
        """Send Ctrl-C until there is another prompt: `input` misses one just after the first."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            time.sleep(0.5)
            self.send("\x03")
            if self._read(PROMPT, 5.0)[1]:
                return
        pytest.fail("Ctrl-C brings no other prompt")

    def _read(self, text: str, seconds: float) -> tuple[str, bool]:
        """What is printed within `seconds`, up to `text`, and whether that came."""
        seen, end = "", time.monotonic() + seconds
        while not seen.endswith(text):
            if not select.select([self.fd], [], [], max(0, end - time.monotonic()))[0]:
                return seen, False
            seen += os.read(self.fd, 1).decode(errors="replace")
        return seen, True


@pytest.fixture
def terminal(target: Any) -> Iterator[Terminal]:
    opened = Terminal("chat", "m", "--base-url", target.url)
    yield opened
    opened.process.kill()
    opened.process.wait()
    os.close(opened.fd)


def test_ctrl_c_ends_the_answer_and_not_the_chat(terminal: Terminal, target: Any) -> None:
    terminal.until(PROMPT)
    terminal.interrupt_prompt()
    target.mode = "stalled"
    terminal.send("First?\n")
    terminal.until("one two three")
    terminal.send("\x03")
    terminal.until(PROMPT)
    end = time.monotonic() + SECONDS
    while not target.left and time.monotonic() < end:
        time.sleep(0.01)
    assert target.left == 1  # the server is not left generating

    target.mode = "good"
    terminal.send("Second?\n")
    terminal.until("one two three")
    terminal.until(PROMPT)
    contents = [message["content"] for message in target.bodies[1]["messages"]]
    assert contents == ["First?", "one two three", "Second?"]

    target.mode = "unknown"
    terminal.send("Third?\n")
    terminal.until("modelfleet chat: secret (HTTP 404, request id req-7).")
    terminal.until(PROMPT)
    terminal.send("/quit\n")
    assert terminal.process.wait(SECONDS) == 0
