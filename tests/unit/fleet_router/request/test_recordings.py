"""The recordings in a chat, and the texts in their places."""

from __future__ import annotations

import base64
import json
import tracemalloc
from typing import Any

import pytest

from fleet_contract.errors import BadRequest
from fleet_router.request.recordings import MOST, RecordedChat, may_have_recordings

TEXT = {"type": "text", "text": "What is this?"}


def recording(data: str = base64.b64encode(b"RIFF").decode(), kind: Any = "wav") -> dict[str, Any]:
    return {"type": "input_audio", "input_audio": {"data": data, "format": kind}}


def body(*parts: Any) -> bytes:
    messages = [{"role": "system", "content": "x"}, {"role": "user", "content": list(parts)}]
    return json.dumps({"messages": messages, "temperature": 0.5}).encode()


def test_texts_take_the_places_of_recordings() -> None:
    given = body(TEXT, recording(), recording(kind="mp3"))
    assert may_have_recordings(given)
    chat = RecordedChat(given)
    assert [(each.place, each.data, each.format) for each in chat.recordings] == [
        ("messages[1].content[1]", b"RIFF", "wav"), ("messages[1].content[2]", b"RIFF", "mp3"),
    ]  # fmt: skip
    texts = [{"type": "text", "text": text} for text in ("one", "")]
    assert json.loads(chat.with_texts(["one", ""])) == json.loads(body(TEXT, *texts))


def test_the_base64_of_recordings_is_not_kept() -> None:
    size = 1 << 20
    given = body(recording(base64.b64encode(bytes(size)).decode()))
    tracemalloc.start()
    try:
        chat = RecordedChat(given)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(chat.recordings[0].data) == size
    assert size <= kept < 1.1 * size


@pytest.mark.parametrize(
    "given",
    [
        b"{}",
        b'{"messages": 5}',
        b'{"messages": [5, {}, {"content": [5, {"type": []}]}]}',
        body(TEXT),
    ],
)
def test_what_has_no_recordings_is_left_to_the_server(given: bytes) -> None:
    assert not may_have_recordings(given)
    assert RecordedChat(given).recordings == []


@pytest.mark.parametrize(
    ("part", "place"),
    [
        ({"type": "input_audio"}, "input_audio"),
        ({"type": "input_audio", "input_audio": "x"}, "input_audio"),
        (recording(kind=None), "input_audio.format"),
        (recording(kind='wav"\r\n'), "input_audio.format"),
        (recording(""), "input_audio.data"),
        (recording("é"), "input_audio.data"),
        (recording("not base64"), "input_audio.data"),
    ],
)
def test_a_recording_that_cannot_be_read_is_refused(part: dict[str, Any], place: str) -> None:
    with pytest.raises(BadRequest) as caught:
        RecordedChat(body(part))
    assert caught.value.param == f"messages[1].content[0].{place}"


def test_the_number_of_recordings_is_bounded() -> None:
    RecordedChat(body(*[recording()] * MOST))
    with pytest.raises(BadRequest, match=f"{MOST + 1} recordings") as caught:
        RecordedChat(body(*[recording()] * (MOST + 1)))
    assert caught.value.param == f"messages[1].content[{MOST}]"
