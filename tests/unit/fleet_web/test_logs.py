"""Structured logs."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from fleet_web import logs
from fleet_web.current_request import CURRENT


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """A logger; changes by `configure` are restored."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield logging.getLogger("test")
    root.handlers[:] = handlers
    root.setLevel(level)


def test_json_lines(logger: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("server", "info", "json")
    token = CURRENT.set("r-1")
    logs.event(logger, "chat", tokens=5, text="zwei\nZeilen")
    CURRENT.reset(token)
    logs.event(logger, "hidden", level=logging.DEBUG)
    (line,) = capsys.readouterr().err.splitlines()
    found = json.loads(line)
    assert found.pop("time").endswith("Z")
    assert found == {
        "level": "info", "component": "server", "event": "chat", "request_id": "r-1", "tokens": 5,
        "text": "zwei\nZeilen",
    }  # fmt: skip


def test_an_exception_is_one_line_of_json(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("server")
    try:
        raise ValueError("no good")
    except ValueError:
        logger.exception("failed")
    (line,) = capsys.readouterr().err.splitlines()
    assert "ValueError: no good" in json.loads(line)["exception"]
    assert "request_id" not in json.loads(line)


def test_text_lines(logger: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("server", "debug", "text")
    logs.event(logger, "chat", level=logging.DEBUG, tokens=5)
    assert "debug   chat tokens=5" in capsys.readouterr().err


@pytest.mark.parametrize(("level", "fmt"), [("loud", "json"), ("info", "xml")])
def test_bad_settings_name_their_variable(level: str, fmt: str) -> None:
    with pytest.raises(ValueError, match="LOG_"):
        logs.configure("server", level, fmt)


FORGED = "\n12:00:00 info    request path=/admin\r"
HOSTILE = f"/x{FORGED}\x1b[2J\x1b]0;title\x07\x9b31m\u202e\u2028 status=200"


@pytest.mark.parametrize("fmt", ["json", "text"])
def test_text_of_clients_forges_no_line_and_controls_no_terminal(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str], fmt: str
) -> None:
    logs.configure("router", "info", fmt)
    logs.event(logger, "request", path=HOSTILE)
    logger.error("unexpected error on %s", HOSTILE)
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        logger.exception("failed")
    written = capsys.readouterr().err
    assert not [c for c in written if c != "\n" and (ord(c) < 32 or 127 <= ord(c) < 160)]
    lines = [line for line in written.split("\n") if line and not line.startswith("  ")]
    assert len(lines) == 3
    if fmt == "json":
        assert json.loads(lines[0])["path"] == HOSTILE
    else:
        assert written.count("\u202e") == written.count("\u2028") == 0
        assert json.loads(lines[0].partition("path=")[2]).startswith(r"/x\n12:00:00")


@pytest.mark.parametrize("fmt", ["json", "text"])
def test_queries_and_passwords_of_addresses_are_not_logged(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str], fmt: str
) -> None:
    logs.configure("server", "info", fmt)
    source = "https://bucket.example/w.gguf?X-Amz-Signature=5ecret&x=1"
    logs.event(logger, "fetching_started", source=source, other=f'say "{source}"')
    try:
        raise ValueError(f"no {source} or https://user:5ecret@host/x")
    except ValueError:
        logger.exception("failed: %s", source)
    written = capsys.readouterr().err
    assert "5ecret" not in written
    assert "https://bucket.example/w.gguf?..." in written
    if fmt == "json":
        assert json.loads(written.splitlines()[0])["source"].endswith("?...")
