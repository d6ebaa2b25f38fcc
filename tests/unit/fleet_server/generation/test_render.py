"""Events of a stream and its usage."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from fleet_contract.errors import Timeout
from fleet_server.generation.pieces import Text
from fleet_server.generation.render import ChunkRenderer, usage
from fleet_server.generation.stream import Update
from fleet_server.protocols import Finish

STREAM: Any = SimpleNamespace(prompt_tokens=5, completion_tokens=3, reasoning_tokens=None)
COUNTS = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}


class Plain(ChunkRenderer):
    """A chunk is only its choices."""

    def whole(self, stream: Any, pieces: Any, finish: Finish) -> Any:
        return pieces

    def opening(self) -> bytes:
        return b""

    def update(self, update: Update) -> Iterator[bytes]:
        yield self._event(update.text)

    def _chunk(self, choices: list[Any]) -> Any:
        return {"id": self._id, "choices": choices}


def made(*, include_usage: bool = False, usage_comment: bool = False) -> Plain:
    return Plain("c-", "m", include_usage=include_usage, usage_comment=usage_comment)


def read(event: bytes) -> Any:
    assert event.startswith(b"data: {")
    assert event.endswith(b"}\n\n")
    return json.loads(event[6:])


def test_usage_is_the_sum_of_both() -> None:
    assert usage(STREAM) == COUNTS


@pytest.mark.parametrize("comment", [True, False])
def test_a_requested_usage_is_the_last_chunk(comment: bool) -> None:
    renderer = made(include_usage=True, usage_comment=comment)
    (event,) = renderer.update(Update((Text("hi"),)))
    assert read(event)["choices"] == ["hi"]
    assert read(event)["usage"] is None
    last, done = renderer.closing(STREAM)
    assert (read(last)["choices"], read(last)["usage"]) == ([], COUNTS)
    assert read(last)["id"] == read(event)["id"]
    assert done == b"data: [DONE]\n\n"


def test_the_router_gets_the_usage_in_a_comment() -> None:
    renderer = made(usage_comment=True)
    (event,) = renderer.update(Update((Text("hi"),)))
    assert "usage" not in read(event)
    comment, done = renderer.closing(STREAM)
    assert comment.startswith(b": usage {")
    assert json.loads(comment[8:]) == COUNTS
    assert done == b"data: [DONE]\n\n"


def test_without_either_a_stream_has_no_usage() -> None:
    assert list(made().closing(STREAM)) == [b"data: [DONE]\n\n"]


def test_an_error_is_the_last_event() -> None:
    assert read(made().failure(Timeout("too slow")))["error"]["message"] == "too slow"


def test_each_response_has_its_own_id() -> None:
    first, second = (next(made().update(Update())) for _ in range(2))
    assert read(first)["id"] != read(second)["id"]
