"""`modelfleet chat` in a pipe: prompts of lines, answers and errors of a real server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fleet_cli.client.chat import app, delta


def run(target: Any, lines: str, *options: str) -> tuple[int, str, str]:
    arguments = ["m", "--base-url", target.url, *options]
    done = CliRunner().invoke(app, arguments, input=lines, env={"OPENAI_API_KEY": "secret-key"})
    return done.exit_code, done.stdout, done.stderr


def test_each_line_is_a_prompt_that_has_the_history(target: Any) -> None:
    status, output, error = run(
        target, "First?\n\n//tmp?\n", "--system", "Be brief.", "--temperature", "0.5",
        "--max-tokens", "9",
    )  # fmt: skip
    assert (status, output, error) == (0, "one two three\none two three\n", "")
    first, second = target.bodies
    assert (first["model"], first["temperature"], first["max_tokens"]) == ("m", 0.5, 9)
    assert target.headers[0]["authorization"] == "Bearer secret-key"
    assert [message["content"] for message in second["messages"]] == [
        "Be brief.", "First?", "one two three", "/tmp?"
    ]  # fmt: skip


def test_commands(target: Any, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    lines = ["First?", "/clear", "/system Be rude.", f"/image {tmp_path}/x.png", "What?", "/quit"]
    assert run(target, "\n".join([*lines, "never sent"]))[0] == 0
    system, user = target.bodies[1]["messages"]
    assert (len(target.bodies), system["content"]) == (2, "Be rude.")
    assert user["content"][0]["image_url"]["url"] == "data:image/png;base64,iVBORw0KGgo="
    assert user["content"][1]["text"] == "What?"


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("unknown", "secret (HTTP 404, request id req-7)."),
        ("busy", "secret (HTTP 429, request id req-7, retry after 3 s)."),
        ("closed", "no key\\x1b[2J (HTTP 401, request id req-7). Set an API key in the variable"),
        ("html", "The request failed (HTTP 502)."),
        ("half", "gone."),
        ("nonsense", "The response is not JSON."),
        ("endless", "The stream ended early."),
    ],
)
def test_errors_are_shown_and_do_not_end_the_chat(target: Any, mode: str, message: str) -> None:
    target.mode = mode
    status, _, error = run(target, "First?\nSecond?\n")
    assert status == 1
    assert error.count(f"modelfleet chat: {message}") == 2
    assert "secret-key" not in error
    kept = [message["role"] for message in target.bodies[1]["messages"]]
    # A partial answer is kept; a prompt without any answer is not.
    assert kept == (["user", "assistant", "user"] if mode in ("half", "nonsense", "endless")
                    else ["user"])  # fmt: skip


def test_a_stream_may_close_after_a_finish_reason(target: Any) -> None:
    target.mode = "unmarked"
    assert run(target, "First?\n") == (0, "one two three\n", "")


def test_lines_that_fail_before_a_request(target: Any, tmp_path: Path) -> None:
    status, output, error = run(target, f"/image {tmp_path}/none.png\n/sistem x\n")
    assert (status, output, target.bodies) == (1, "", [])
    assert f"{tmp_path}/none.png: No such file or directory" in error
    assert "unknown command /sistem; known are /system TEXT" in error
    status, _, error = run(target, "x", "--image", str(tmp_path))
    assert (status, error) == (1, f"modelfleet chat: {tmp_path}: it is not a file\n")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://127.0.0.1:9", "Start the fleet with `modelfleet up`"),
        ("localhost:8000", "must begin with http:// or https://"),
        ("http://[::1", "Invalid"),
    ],
)
def test_addresses_without_a_server(url: str, message: str) -> None:
    done = CliRunner().invoke(app, ["m", "--base-url", url], input="First?\n")
    assert (done.exit_code, done.stdout) == (1, "")
    assert message in done.stderr
    assert done.stderr.startswith("modelfleet chat: ")


def test_chunks_of_other_shapes_have_no_text() -> None:
    assert delta({"choices": [{"delta": {"content": "a", "reasoning": "b"}}]}) == ("a", "b", None)
    assert delta({"choices": [{"delta": {}, "finish_reason": "stop"}]}) == ("", "", "stop")
    for event in ({}, {"choices": []}, {"choices": [1]}, {"choices": [{"delta": [1]}]}):
        assert delta(event) == ("", "", None)
