"""Events in text and JSON logs, as fleet_web.logs writes them."""

from __future__ import annotations

import logging

import pytest

from fleet_local.processes.server_events import load_failure
from fleet_web import logs
from fleet_web.logs import JsonFormatter, TextFormatter

MESSAGES = ("The weights are missing.", 'Set a=1 or "b".', "no_blanks=1", "=")


@pytest.mark.parametrize("message", MESSAGES)
@pytest.mark.parametrize("formatter", [JsonFormatter("server"), TextFormatter()])
def test_the_reason_of_a_failed_load_is_read_back(
    formatter: logging.Formatter, message: str
) -> None:
    record = logs._Event("x", logging.ERROR, "load_failed", {"stage": "load", "message": message})
    assert load_failure(["before", formatter.format(record), "after {"]) == message
