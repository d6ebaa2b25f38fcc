"""Steps that reach the event loop together: text is delivered before a later error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from fleet_contract.errors import InternalError, NotReady
from fleet_server.generation.stream import TextUpdate, TokenStream
from fleet_server.protocols import Delta, Finish, Prompt, Sampling, Step

BROKEN = RuntimeError("the secret text of an engine")


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


async def fill(made: TokenStream, seen: list[TextUpdate]) -> None:
    """Read the stream; updates before an error stay in `seen`."""
    try:
        async for update in made.updates():
            seen.append(update)
    finally:
        made.cancel()


async def test_text_before_an_error_is_delivered() -> None:
    seen: list[TextUpdate] = []
    made = started(Step(b"Hel"), Step(b"lo"), Step((), error=BROKEN))
    with pytest.raises(InternalError) as caught:
        await fill(made, seen)
    assert caught.value.__cause__ is BROKEN
    assert seen == [TextUpdate("Hello")]
    assert made.completion_tokens == 5


async def test_text_held_for_a_stop_string_is_delivered_before_an_error() -> None:
    seen: list[TextUpdate] = []
    made = started(Step(b"almost EN"), Step((), error=BROKEN), stop=["END"])
    with pytest.raises(InternalError):
        await fill(made, seen)
    assert seen == [TextUpdate("almost EN")]


async def test_a_public_error_is_raised_unchanged() -> None:
    error = NotReady("Restarting.")
    seen: list[TextUpdate] = []
    made = started(Step((), error=error))
    with pytest.raises(NotReady) as caught:
        await fill(made, seen)
    assert caught.value is error
    assert seen == []


@pytest.mark.parametrize(
    ("steps", "stop", "expected"),
    [
        ([Step(b"yes", Finish.LENGTH)], [], TextUpdate("yes", Finish.LENGTH)),
        ([Step(b"one "), Step(b"two"), Step(b" three")], ["two"], TextUpdate("one ", Finish.STOP)),
        ([Step(b"so EN"), Step((), Finish.STOP)], ["END"], TextUpdate("so EN", Finish.STOP)),
    ],
)
async def test_an_error_after_the_end_is_ignored(
    steps: list[Step], stop: list[str], expected: TextUpdate
) -> None:
    seen: list[TextUpdate] = []
    made = started(*steps, Step((), error=BROKEN), stop=stop)
    await fill(made, seen)
    assert seen == [expected]


def delta(text: str, number: int, finish: Finish | None = None) -> Step:
    return Step((), finish, delta=Delta(text, number))


async def test_deltas_have_text_and_their_own_number_of_tokens() -> None:
    seen: list[TextUpdate] = []
    made = started(delta("", 0), delta("Tag, ", 2), delta("日", 3), delta("", 1, Finish.LENGTH))
    assert made.first_token_at is None
    await fill(made, seen)
    assert seen == [TextUpdate("Tag, 日", Finish.LENGTH)]
    assert made.completion_tokens == 6
    assert made.first_token_at is not None


async def test_a_delta_without_tokens_is_not_the_first_token() -> None:
    made = started(delta("", 0, Finish.STOP))
    await fill(made, [])
    assert made.first_token_at is None
    assert made.completion_tokens == 0


async def test_a_stop_string_in_deltas_cancels_the_generation() -> None:
    seen: list[TextUpdate] = []
    model: Any = AtOnce(delta("one EN", 2), delta("D two", 2), delta(" three", 1))
    made = TokenStream(model, Prompt(1, None), Sampling(99), ["END"], 60)
    await fill(made, seen)
    assert seen == [TextUpdate("one ", Finish.STOP)]
    assert model.cancelled
