"""Items of responses become messages: images and reasoning."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import pytest
from PIL import Image

from fleet_contract.errors import BadRequest
from fleet_contract.spec import ModelSpec
from fleet_server.protocols import Prompt
from fleet_server.responses.input import InputReader

USER = {"role": "user", "content": "hello"}
CALL = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
RESULT = {"type": "function_call_output", "call_id": "c1", "output": "x"}


def reader(**fields: Any) -> InputReader:
    return InputReader(ModelSpec.model_validate({"model": "m"} | fields))


def refusal(*items: Any, **fields: Any) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        reader(**fields).read(list(items))
    return caught.value


def image(url: str) -> dict[str, Any]:
    return {"type": "input_image", "image_url": url, "detail": "auto"}


def text(words: str) -> dict[str, Any]:
    return {"type": "input_text", "text": words}


def user(*parts: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(parts)}


def thoughts(*texts: str) -> dict[str, Any]:
    content = [{"type": "reasoning_text", "text": each} for each in texts]
    return {"type": "reasoning", "id": "rs_1", "summary": [], "content": content}


def test_images_are_collected_with_their_places() -> None:
    reading = reader(vision=True)
    messages = reading.read([USER, user(image("data:a"), text("and"), image("data:b"))])
    assert messages[1]["content"] == [
        {"type": "image"}, {"type": "text", "text": "and"}, {"type": "image"},
    ]  # fmt: skip
    assert [(each.url, each.place) for each in reading.images] == [
        ("data:a", "input[1].content[0].image_url"),
        ("data:b", "input[1].content[2].image_url"),
    ]


@pytest.mark.parametrize(
    ("part", "param", "words"),
    [
        ({"type": "input_image"}, "input[0].content[0].image_url", "string"),
        ({"type": "input_image", "image_url": {"url": "x"}}, "input[0].content[0].image_url",
         "string"),
        ({"type": "input_image", "file_id": "file-1"}, "input[0].content[0].file_id",
         "stores no files"),
        ({"type": "input_file", "file_data": "x"}, "input[0].content[0]", "Send the text"),
        ({"type": "input_audio"}, "input[0].content[0]", "Transcribe"),
        ({"type": ["input_image"]}, "input[0].content[0].type", "input_text"),
    ],
)  # fmt: skip
def test_parts_that_are_not_taken(part: dict[str, Any], param: str, words: str) -> None:
    error = refusal(user(part), vision=True)
    assert (error.param, words in error.message) == (param, True)


def test_the_number_of_images_is_limited() -> None:
    error = refusal(user(image("a"), image("b")), vision=True, limits={"maxImages": 1})
    assert (error.param, "2 images" in error.message) == ("input", True)


def test_the_number_of_messages_is_limited() -> None:
    error = refusal(*[USER] * 10_001)
    assert (error.param, "10001 messages" in error.message) == ("input", True)


async def test_a_vision_model_gets_the_pictures(serve: Any, scripted: Any) -> None:
    seen: list[Any] = []

    class Sees(scripted):
        def prompt(self, messages: Sequence[dict[str, Any]], images: Sequence[Any]) -> Prompt:
            seen.extend(images)
            return Prompt(num_tokens=9, state=None)

    file = io.BytesIO()
    Image.new("RGB", (3, 2), "red").save(file, "PNG")
    url = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
    with serve(Sees(), vision=True) as live:
        body = (await live.chat(input=[user(image(url), text("?"))])).json()
        error = await live.refused(input=[user(image("data:image/png;base64,aGk="))])
        await live.idle()
    assert body["usage"]["input_tokens"] == 9
    [picture] = seen
    assert (picture.size, picture.getpixel((0, 0))) == ((3, 2), (255, 0, 0))
    assert error["param"] == "input[0].content[0].image_url"


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([thoughts("Hm.", "So."), {"role": "assistant", "content": "Hi."}], ["", "Hm.\nSo."]),
        ([thoughts("Hm."), CALL, RESULT], ["", "Hm.", ""]),
        # One turn: reasoning, text, reasoning, call.
        (
            [thoughts("a"), {"role": "assistant", "content": "Hi."}, thoughts("b"), CALL, RESULT],
            ["", "a\nb", ""],
        ),
        ([thoughts("a"), CALL, RESULT, thoughts("b"), CALL, RESULT], ["", "a", "", "b", ""]),
        # Reasoning whose answer is missing.
        ([thoughts("a"), USER, {"role": "assistant", "content": "Hi."}], ["", "", ""]),
        ([CALL, RESULT, thoughts("a")], ["", "", ""]),
        (
            [{"type": "reasoning", "summary": [], "content": None, "encrypted_content": "x"}, CALL],
            ["", ""],
        ),
    ],
)
def test_reasoning_belongs_to_the_next_turn_of_the_model(
    items: list[Any], expected: list[str]
) -> None:
    messages = reader().read([USER, *items])
    assert [message.get("reasoning_content", "") for message in messages] == expected


@pytest.mark.parametrize(
    ("content", "param"),
    [
        ("Hm.", "input[1].content"),
        (["Hm."], "input[1].content[0].type"),
        ([{"type": "summary_text", "text": "Hm."}], "input[1].content[0].type"),
        ([{"type": "reasoning_text"}], "input[1].content[0].text"),
    ],
)
def test_malformed_reasoning_is_refused(content: Any, param: str) -> None:
    assert refusal(USER, {"type": "reasoning", "content": content}).param == param


def test_images_in_results_follow_the_results_as_a_message_of_the_user() -> None:
    reading = reader(vision=True)
    picture = {**RESULT, "output": [text("seen"), image("data:a")]}
    other = {**CALL, "call_id": "c2"}
    messages = reading.read(
        [USER, CALL, other, picture, {**RESULT, "call_id": "c2"}, user(text("and"))]
    )
    assert [message["role"] for message in messages] == [
        "user", "assistant", "tool", "tool", "user", "user",
    ]  # fmt: skip
    assert (messages[2]["content"], messages[3]["content"]) == ("seen", "x")
    assert messages[4]["content"] == [{"type": "image"}]
    assert [each.place for each in reading.images] == ["input[3].output[1].image_url"]
    assert reading.read([USER, CALL, picture])[-1]["content"] == [{"type": "image"}]


def test_images_in_results_are_for_models_that_read_images() -> None:
    error = refusal(USER, CALL, {**RESULT, "output": [image("data:a")]})
    assert error.param == "input[2].output[0]"
    assert "modalities.input" in error.message
