"""Events of a stream and its usage."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from fleet_contract.errors import Timeout
from fleet_server.generation.choices import Choice
from fleet_server.generation.pieces import Text
from fleet_server.generation.render import ChunkRenderer, Counts, StreamUsage, usage
from fleet_server.generation.stream import Update
from fleet_server.generation.timings import Timings

STREAM: Any = SimpleNamespace(
    prompt_tokens=5, completion_tokens=3, cached_tokens=None, reasoning_tokens=None
)
TIMINGS = Timings.of(2.0, admitted=10.0, submitted=10.25, first=10.5, last=11.5)
COUNTS = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}


class Plain(ChunkRenderer):
    """A chunk is only its choices."""

    def whole(self, choices: Sequence[Choice], counts: Counts) -> Any:
        return choices

    def opening(self, index: int) -> bytes:
        return b""

    def update(self, update: Update) -> Iterator[bytes]:
        yield self._event(update.text)

    def _chunk(self, choices: list[Any]) -> Any:
        return {"id": self._id, "choices": choices}


def made(**usage: bool) -> Plain:
    renderer = Plain("c-", "m", StreamUsage(**usage))
    renderer.begin(STREAM)
    return renderer


def read(event: bytes) -> Any:
    assert event.startswith(b"data: {")
    assert event.endswith(b"}\n\n")
    return json.loads(event[6:])


def test_usage_is_the_sum_of_both() -> None:
    assert usage(STREAM) == COUNTS


def test_usage_has_the_details_that_are_known() -> None:
    more = {"cached_tokens": 0, "reasoning_tokens": 2}
    assert usage(SimpleNamespace(**vars(STREAM) | more)) == COUNTS | {
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }


@pytest.mark.parametrize("comment", [True, False])
def test_a_requested_usage_is_the_last_chunk(comment: bool) -> None:
    renderer = made(included=True, as_comment=comment)
    (event,) = renderer.update(Update((Text("hi"),)))
    assert read(event)["choices"] == ["hi"]
    assert read(event)["usage"] is None
    last, done = renderer.closing(STREAM, TIMINGS)
    assert (read(last)["choices"], read(last)["usage"]) == ([], COUNTS)
    assert read(last)["timings"] == {
        "queue_ms": 2.0, "prompt_ms": 250.0, "first_token_ms": 502.0, "decode_ms": 1000.0,
    }  # fmt: skip
    assert read(last)["id"] == read(event)["id"]
    assert done == b"data: [DONE]\n\n"


def test_each_chunk_has_the_usage_up_to_then() -> None:
    (event,) = made(included=True, continuous=True).update(Update((Text("hi"),)))
    assert read(event)["usage"] == COUNTS
    (event,) = made(continuous=True).update(Update((Text("hi"),)))
    assert "usage" not in read(event)


def test_a_response_without_a_token_has_no_times_of_one() -> None:
    none = Timings.of(2.0, admitted=10.0, submitted=10.25, first=None, last=11.5)
    assert none.headers() == {}
    assert none.body() == {
        "queue_ms": 2.0, "prompt_ms": None, "first_token_ms": None, "decode_ms": None,
    }  # fmt: skip


def test_the_router_gets_the_usage_in_a_comment() -> None:
    renderer = made(as_comment=True)
    (event,) = renderer.update(Update((Text("hi"),)))
    assert "usage" not in read(event)
    comment, done = renderer.closing(STREAM, TIMINGS)
    assert comment.startswith(b": usage {")
    assert json.loads(comment[8:]) == COUNTS
    assert done == b"data: [DONE]\n\n"


def test_without_either_a_stream_has_no_usage() -> None:
    assert list(made().closing(STREAM, TIMINGS)) == [b"data: [DONE]\n\n"]


def test_an_error_is_the_last_event() -> None:
    assert read(made().failure(Timeout("too slow")))["error"]["message"] == "too slow"


def test_each_response_has_its_own_id() -> None:
    first, second = (next(made().update(Update())) for _ in range(2))
    assert read(first)["id"] != read(second)["id"]
