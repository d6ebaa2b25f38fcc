from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from fleet_server.generation.choices import Choice
from fleet_server.generation.pieces import CallArguments, CallStart
from fleet_server.messages.render import MessageRenderer
from fleet_server.protocols import Finish
from fleet_web.responses import json_response


@dataclass
class Counts:
    prompt_tokens: int = 3
    completion_tokens: int = 5
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


@pytest.mark.parametrize(
    "arguments", [r'{"text": "\ud800"}', '{"number": 1e999}', '{"number": 12345678901234567890123}']
)
def test_arguments_are_returned_as_they_were_written(arguments: str) -> None:
    choice = Choice(0, [CallStart(0, "toolu_1", "note"), CallArguments(0, arguments)])
    choice.finish = Finish.TOOL_CALLS
    response = json_response(MessageRenderer("m", 3).whole([choice], Counts()))
    [block] = json.loads(bytes(response.body))["content"]
    assert block["input"] == json.loads(arguments)
