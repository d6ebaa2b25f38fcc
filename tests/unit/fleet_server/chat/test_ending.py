"""Prompts that end with the last message, or without the beginning of a turn."""

from __future__ import annotations

from typing import Any

import pytest

ALL = frozenset({"tools"})
USER = {"role": "user", "content": "hello"}
MODEL = {"role": "assistant", "content": "The answer is ("}
CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("fields", "continues", "begins_turn"),
    [
        ({}, False, True),
        ({"add_generation_prompt": True, "continue_final_message": False}, False, True),
        ({"add_generation_prompt": False}, False, False),
        ({"continue_final_message": True}, True, False),
        ({"continue_final_message": True, "add_generation_prompt": False}, True, False),
    ],
)
async def test_the_engine_gets_the_ending(
    serve: Any, scripted: Any, fields: Any, continues: bool, begins_turn: bool
) -> None:
    with serve(scripted(supports=ALL)) as live:
        answer = await live.chat(messages=[USER, MODEL], **fields)
        ((_, arguments),) = live.model.prompts
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"] == "Hello, wörld!"
    assert (arguments.continues, arguments.begins_turn) == (continues, begins_turn)


@pytest.mark.parametrize(
    ("last", "fields", "param"),
    [
        (USER, {"continue_final_message": True}, "continue_final_message"),
        (MODEL | {"tool_calls": [CALL]}, {"continue_final_message": True},
         "continue_final_message"),
        (MODEL, {"continue_final_message": True, "add_generation_prompt": True},
         "continue_final_message"),
        (MODEL, {"continue_final_message": 1}, "continue_final_message"),
    ],
)  # fmt: skip
async def test_impossible_endings_are_refused(
    serve: Any, scripted: Any, last: Any, fields: Any, param: str
) -> None:
    with serve(scripted(supports=ALL)) as live:
        error = await live.refused(messages=[USER, last], **fields)
    assert error["param"] == param


async def test_an_engine_that_hides_its_template_refuses(serve: Any) -> None:
    with serve() as live:
        error = await live.refused(messages=[USER, MODEL], continue_final_message=True)
    assert error["code"] == "unsupported_parameter"
    assert "openvino" in error["message"]


@pytest.mark.parametrize(
    ("part", "named"),
    [
        ({"type": "image_url", "image_url": {"url": "data:,"}}, "GET /v1/models"),
        ({"type": "input_audio", "input_audio": {"data": "", "format": "wav"}},
         "/v1/audio/transcriptions"),
        ({"type": "file", "file": {"file_id": "f"}}, "text of a file"),
        ({"type": "video_url", "video_url": {"url": "data:,"}}, "frames"),
    ],
)  # fmt: skip
async def test_parts_that_the_model_does_not_take(serve: Any, part: Any, named: str) -> None:
    text = {"type": "text", "text": "hello"}
    with serve() as live:
        error = await live.refused(messages=[{"role": "user", "content": [text, part]}])
    assert error["param"] == "messages[0].content[1]"
    assert f"{part['type']!r}, but the model 'scripted' takes text" in error["message"]
    assert named in error["message"]
