"""Steps that reach the event loop: text before a later error, the first token, a closed loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from fleet_contract.errors import InternalError, NotReady, Timeout
from fleet_server.generation.pieces import Text
from fleet_server.generation.stream import TokenStream, Update
from fleet_server.protocols import Delta, Finish, Prompt, Sampling, Step

BROKEN = RuntimeError("the secret text of an engine")


def update(text: str, finish: Finish | None = None, stop: str | None = None) -> Update:
    return Update((Text(text),), finish, stop=stop)


class AtOnce:
    """A model that emits all its steps in one turn of the event loop."""

    def __init__(self, *steps: Step) -> None:
        self._steps = steps
        self.cancelled = 0

    def submit(self, prompt: Prompt, sampling: Sampling, emit: Callable[[Step], None]) -> AtOnce:
        for step in self._steps:
            emit(step)
        return self

    def cancel(self) -> None:
        self.cancelled += 1

    def decode(self, token_ids: Sequence[int]) -> str:
        return bytes(token_ids).decode("utf-8", "replace")


def started(*steps: Step, stop: Sequence[str] = ()) -> TokenStream:
    model: Any = AtOnce(*steps)
    return TokenStream(model, Prompt(1, None), Sampling(99), stop, 60)


async def fill(made: TokenStream, seen: list[Update]) -> None:
    """Read the stream; updates before an error stay in `seen`."""
    try:
        async for update in made.updates():
            seen.append(update)
    finally:
        made.cancel()


async def test_text_before_an_error_is_delivered() -> None:
    seen: list[Update] = []
    made = started(Step(b"Hel"), Step(b"lo"), Step((), error=BROKEN))
    with pytest.raises(InternalError) as caught:
        await fill(made, seen)
    assert caught.value.__cause__ is BROKEN
    assert seen == [update("Hello")]
    assert made.completion_tokens == 5


async def test_what_an_engine_emits_after_its_error_is_ignored() -> None:
    seen: list[Update] = []
    made = started(Step(b"Hel"), Step((), error=BROKEN), Step(b"lo", Finish.STOP))
    with pytest.raises(InternalError):
        await fill(made, seen)
    assert seen == [update("Hel")]


async def test_text_held_for_a_stop_string_is_delivered_before_an_error() -> None:
    seen: list[Update] = []
    made = started(Step(b"almost EN"), Step((), error=BROKEN), stop=["END"])
    with pytest.raises(InternalError):
        await fill(made, seen)
    assert seen == [update("almost EN")]


async def test_a_public_error_is_raised_unchanged() -> None:
    error = NotReady("Restarting.")
    seen: list[Update] = []
    made = started(Step((), error=error))
    with pytest.raises(NotReady) as caught:
        await fill(made, seen)
    assert caught.value is error
    assert seen == []


@pytest.mark.parametrize(
    ("steps", "stop", "expected"),
    [
        ([Step(b"yes", Finish.LENGTH)], [], update("yes", Finish.LENGTH)),
        (
            [Step(b"one "), Step(b"two"), Step(b" three")],
            ["two"],
            update("one ", Finish.STOP, "two"),
        ),
        ([Step(b"so EN"), Step((), Finish.STOP)], ["END"], update("so EN", Finish.STOP)),
    ],
)
async def test_an_error_after_the_end_is_ignored(
    steps: list[Step], stop: list[str], expected: Update
) -> None:
    seen: list[Update] = []
    made = started(*steps, Step((), error=BROKEN), stop=stop)
    await fill(made, seen)
    assert seen == [expected]


class Later(AtOnce):
    """A model whose steps are emitted by the test."""

    emit: Callable[[Step], None]

    def submit(self, prompt: Prompt, sampling: Sampling, emit: Callable[[Step], None]) -> AtOnce:
        self.emit = emit
        return self


async def test_the_first_token_is_that_of_the_first_step_with_tokens() -> None:
    model: Any = Later()
    made = TokenStream(model, Prompt(1, None), Sampling(99), (), 60)
    updates = made.updates()
    reading = asyncio.create_task(anext(updates))
    model.emit(Step(()))
    await asyncio.sleep(0)
    assert made.first_token_at is None
    began = time.monotonic()
    model.emit(Step(b"a"))
    await reading
    first = made.first_token_at
    assert first is not None
    assert began <= first <= time.monotonic()
    model.emit(Step(b"b", Finish.STOP))
    await anext(updates)
    assert made.first_token_at == first
    assert made.completion_tokens == 2
    made.cancel()


async def test_a_generation_is_cancelled_at_its_stop_string() -> None:
    model: Any = AtOnce(Step(b"one"), Step(b" two"))
    made = TokenStream(model, Prompt(1, None), Sampling(99), ["two"], 60)
    assert [one async for one in made.updates()] == [update("one ", Finish.STOP, "two")]
    assert model.cancelled == 1


async def test_a_generation_that_starts_late_names_the_limit_of_its_request() -> None:
    model: Any = Later()
    made = TokenStream(model, Prompt(1, None), Sampling(99), (), -1, limit=60)
    with pytest.raises(Timeout, match=r"longer than 60 seconds"):
        await anext(made.updates())
    made.cancel()


async def test_a_generation_that_takes_too_long_ends() -> None:
    model: Any = Later()
    made = TokenStream(model, Prompt(1, None), Sampling(99), (), 0.001)
    with pytest.raises(Timeout, match=r"longer than 0\.001 seconds"):
        await anext(made.updates())
    made.cancel()


def test_a_generation_whose_event_loop_is_closed_is_cancelled() -> None:
    model: Any = Later()

    async def start() -> None:
        TokenStream(model, Prompt(1, None), Sampling(99), (), 60)

    asyncio.run(start())
    assert model.cancelled == 0
    model.emit(Step(b"a"))
    assert model.cancelled == 1


def delta(text: str, number: int, finish: Finish | None = None) -> Step:
    return Step((), finish, delta=Delta(text, number))


async def test_deltas_have_text_and_their_own_number_of_tokens() -> None:
    seen: list[Update] = []
    made = started(delta("", 0), delta("Tag, ", 2), delta("日", 3), delta("", 1, Finish.LENGTH))
    assert made.first_token_at is None
    await fill(made, seen)
    assert seen == [update("Tag, 日", Finish.LENGTH)]
    assert made.completion_tokens == 6
    assert made.first_token_at is not None


async def test_a_delta_without_tokens_is_not_the_first_token() -> None:
    made = started(delta("", 0, Finish.STOP))
    await fill(made, [])
    assert made.first_token_at is None
    assert made.completion_tokens == 0


async def test_a_stop_string_in_deltas_cancels_the_generation() -> None:
    seen: list[Update] = []
    model: Any = AtOnce(delta("one EN", 2), delta("D two", 2), delta(" three", 1))
    made = TokenStream(model, Prompt(1, None), Sampling(99), ["END"], 60)
    await fill(made, seen)
    assert seen == [update("one ", Finish.STOP, "END")]
    assert model.cancelled
