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
    """A logger; whatever `configure` changes is put back."""
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
