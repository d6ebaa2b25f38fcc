"""Descriptions of exit statuses and failed starts."""

from __future__ import annotations

import json
import signal

import pytest

from fleet_local.processes import exit_status, server_events

REASON = "acme/chat needs torch. Install it."
FAILED = json.dumps({"event": "load_failed", "message": REASON})


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0, "ended with status 0"), (2, "ended with status 2"),
        (-signal.SIGKILL, "was killed by SIGKILL"), (-signal.SIGSEGV, "was killed by SIGSEGV"),
        (-99, "was killed by signal 99"),
    ],
)  # fmt: skip
def test_exit_statuses_are_described(status: int, words: str) -> None:
    assert exit_status.describe(status) == words


def test_a_load_failure_has_the_reason_of_the_server() -> None:
    lines = ['{"event": "engine_chosen"}', "not json", FAILED, "", "bye"]
    error = exit_status.start_failure("acme/chat", 3, lines, "run/x.log")
    assert error.message == REASON
    assert "run/x.log" in error.hint
    assert error.output == ()


def test_the_reason_is_found_in_text_logs_too() -> None:
    lines = [f"12:00:00 error   load_failed model=acme/chat message={REASON}", "trace"]
    assert server_events.load_failure(lines) == REASON


def test_any_other_end_shows_the_last_lines() -> None:
    lines = [f"line {number}" for number in range(50)] + ["", "  "]
    error = exit_status.start_failure("router", 1, lines, "run/router.log")
    assert "router ended with status 1" in error.message
    assert error.output == tuple(f"line {number}" for number in range(38, 50))


def test_status_3_without_a_reason_still_shows_the_lines() -> None:
    error = exit_status.start_failure("acme/chat", 3, ["odd"], "run/x.log")
    assert "status 3" in error.message
    assert error.output == ("odd",)


def test_a_kill_hints_at_memory() -> None:
    error = exit_status.start_failure("acme/chat", -signal.SIGKILL, [], "run/x.log")
    assert "memory" in error.hint


def test_ignored_settings_are_read_from_the_log() -> None:
    ignored = {"event": "setting_ignored", "setting": "CHAT_BATCH_WINDOW_MS", "reason": "no wait"}
    lines = ["not json", "[]", FAILED, json.dumps(ignored), json.dumps(ignored)]
    assert server_events.ignored_settings(lines) == {"CHAT_BATCH_WINDOW_MS": "no wait"}
    assert server_events.ignored_settings([]) == {}
