"""Events in the log of a model server: why a load failed, which settings were ignored.

A line is a JSON object, or text with `LOG_FORMAT=text` (`fleet_web.logs`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from fleet_contract.server_protocol import LOAD_FAILED_EVENT, SETTING_IGNORED_EVENT


def load_failure(lines: Sequence[str]) -> str | None:
    """The message of the last `load_failed` event, in JSON or text lines."""
    for line in reversed(lines):
        if (event := _event(line)) is not None:
            if event.get("event") == LOAD_FAILED_EVENT:
                return str(event.get("message", "The model could not be loaded."))
            continue
        _, found, rest = line.partition(f" {LOAD_FAILED_EVENT} ")
        if found:
            message = rest.partition("message=")[2] or rest
            return _unquoted(message) if message.startswith('"') else message
    return None


def ignored_settings(lines: Sequence[str]) -> dict[str, str]:
    """Reasons by setting, of all `setting_ignored` events in JSON lines."""
    events = [event for line in lines if (event := _event(line)) is not None]
    return {
        str(event["setting"]): str(event.get("reason", ""))
        for event in events
        if event.get("event") == SETTING_IGNORED_EVENT and "setting" in event
    }


def _event(line: str) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None


def _unquoted(text: str) -> str:
    try:
        return str(json.JSONDecoder().raw_decode(text)[0])
    except ValueError:
        return text
