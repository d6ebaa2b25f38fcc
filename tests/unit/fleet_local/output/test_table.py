"""The table and the command to try next."""

from __future__ import annotations

import io
import json
import shlex
from collections.abc import Callable

import pytest
from rich.console import Console

from fleet_contract.spec import ModelSpec, Task
from fleet_local.output.table import COLUMNS, ServerRow, next_command, render, row

Spec = Callable[..., ModelSpec]
BASE = "http://127.0.0.1:8000"
LONG = "organisation-with-a-long-name/model-with-an-even-longer-name-instruct-2026"


def printed(rows: list[ServerRow], *, plain: bool, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(render(rows, plain=plain))
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


def test_a_row_has_the_listing_of_the_server(spec: Spec) -> None:
    listed = [{"id": "acme/chat", "engine": "openvino", "engine_reason": "on a CPU",
               "state": "ready", "memory_bytes": 300 << 20}]  # fmt: skip
    made = row(spec(), listed, f"{BASE}1", 2.345)
    assert made.cells() == (
        "acme/chat", "chat", "openvino (on a CPU)", f"{BASE}1", "ready", "300", "2.3",
    )  # fmt: skip


def test_an_unresponsive_server_is_not_shown_as_ready(spec: Spec) -> None:
    made = row(spec(engine="remote", remote={"address": "http://h"}), [], "http://h", None)
    assert made.cells() == ("acme/chat", "chat", "remote", "http://h", "unknown", "", "")


def test_the_entry_of_another_model_is_not_used(spec: Spec) -> None:
    assert row(spec(), [{"id": "other", "state": "ready"}], BASE, 1).state == "unknown"


def test_plain_tables_have_one_line_for_each_model() -> None:
    rows = [ServerRow(LONG, Task.CHAT, "openvino", "a reason " * 10, BASE, "ready", 1.0)] * 3
    lines = printed(rows, plain=True, width=400).splitlines()
    assert len(lines) == 4
    assert all(name in lines[0] for name in COLUMNS)
    assert all(LONG in line and "ready" in line for line in lines[1:])
    assert "\x1b" not in "".join(lines)


def test_a_narrow_terminal_wraps_but_loses_nothing() -> None:
    rows = [ServerRow(LONG, Task.CHAT, "openvino", None, BASE, "ready", 12.5)]
    text = printed(rows, plain=False, width=80)
    assert max(len(line) for line in text.splitlines()) <= 80
    letters = "".join(text.split("│")).replace(" ", "").replace("\n", "")
    assert "12.5" in letters
    assert "…" not in text


@pytest.mark.parametrize(
    ("task", "path", "field"),
    [
        (Task.CHAT, "/v1/chat/completions", "messages"),
        (Task.EMBEDDING, "/v1/embeddings", "input"),
        (Task.RERANK, "/v1/rerank", "documents"),
    ],
)
def test_the_next_command_is_valid_shell_and_json(task: Task, path: str, field: str) -> None:
    words = shlex.split(next_command([ServerRow("m", task, "e", None, BASE, "ready", 1)], BASE))
    assert words[:2] == ["curl", f"{BASE}{path}"]
    body = json.loads(words[words.index("-d") + 1])
    assert body["model"] == "m"
    assert body[field]


def test_the_next_command_prefers_chat_and_sends_speech_as_a_form() -> None:
    speech = ServerRow("s", Task.SPEECH, "e", None, BASE, "ready", 1)
    chat = ServerRow("c", Task.CHAT, "e", None, BASE, "ready", 1)
    assert '"model": "c"' in next_command([speech, chat], BASE)
    words = shlex.split(next_command([speech], BASE))
    assert words[1:] == [
        f"{BASE}/v1/audio/transcriptions",
        "-F",
        "model=s",
        "-F",
        "file=@speech.wav",
    ]
