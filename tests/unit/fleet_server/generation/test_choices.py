"""Several choices of a request: when they start, in which slots, and what they share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import Any

import pytest

from fleet_contract.errors import InternalError
from fleet_server.generation.choices import Choice, Choices, Slots
from fleet_server.generation.pieces import Reasoning, Text
from fleet_server.generation.stream import TokenStream, Update
from fleet_server.protocols import Finish, Prompt, Sampling, Step


class Engine:
    """Generations whose steps the test emits, by the order of their start."""

    def __init__(self) -> None:
        self.emits: list[Callable[[Step], None]] = []
        self.cancelled: list[int] = []

    def submit(self, prompt: Prompt, sampling: Sampling, emit: Callable[[Step], None]) -> Any:
        self.emits.append(emit)
        return Running(self, len(self.emits) - 1)

    def decode(self, token_ids: Sequence[int]) -> str:
        return bytes(token_ids).decode("utf-8", "replace")


class Running:
    def __init__(self, engine: Engine, number: int) -> None:
        self._engine, self._number = engine, number

    def cancel(self) -> None:
        self._engine.cancelled.append(self._number)


class Started:
    """`prompts` times `each` choices, with `free` slots besides their own."""

    def __init__(self, prompts: int = 1, each: int = 3, free: int = 0) -> None:
        self.engine = Engine()
        self.free = free
        self.indices: list[int] = []
        self.choices = Choices(self._start, prompts, each, Slots(self._take, self._give))
        self.seen: list[Update] = []
        self._reading = asyncio.create_task(self._read())

    async def emit(self, number: int, step: Step) -> None:
        self.engine.emits[number](step)
        for _ in range(8):
            await asyncio.sleep(0)

    async def end(self) -> None:
        await asyncio.wait_for(self._reading, 5)

    def _start(self, index: int) -> TokenStream:
        self.indices.append(index)
        model: Any = self.engine
        return TokenStream(model, Prompt(5, None), Sampling(99), (), 60)

    def _take(self) -> bool:
        self.free -= 1
        if self.free < 0:
            self.free = 0
            return False
        return True

    def _give(self) -> None:
        self.free += 1

    async def _read(self) -> None:
        async with aclosing(self.choices.updates()) as updates:
            async for update in updates:
                self.seen.append(update)


async def test_other_choices_start_with_the_first_token_in_free_slots() -> None:
    made = Started(free=1)
    await asyncio.sleep(0)
    assert made.indices == [0]
    await made.emit(0, Step(b"a"))
    assert made.indices == [0, 1]
    await made.emit(1, Step(b"b"))
    await made.emit(0, Step(b"c", Finish.STOP))
    assert made.indices == [0, 1, 2]
    assert made.free == 0
    await made.emit(1, Step((), Finish.LENGTH))
    assert made.free == 1
    await made.emit(2, Step(b"d", Finish.STOP))
    await made.end()
    text = ["".join(update.text for update in made.seen if update.index == n) for n in range(3)]
    assert text == ["ac", "b", "d"]
    assert {update.index: update.finish for update in made.seen if update.finish} == {
        0: Finish.STOP, 1: Finish.LENGTH, 2: Finish.STOP,
    }  # fmt: skip
    assert (made.choices.prompt_tokens, made.choices.completion_tokens) == (5, 4)


async def test_without_free_slots_choices_follow_each_other() -> None:
    made = Started()
    await made.emit(0, Step(b"a"))
    assert made.indices == [0]
    for number in range(3):
        await made.emit(number, Step(b"b", Finish.STOP))
    await made.end()
    assert made.indices == [0, 1, 2]
    assert made.free == 0


async def test_different_prompts_start_at_once() -> None:
    made = Started(prompts=2, each=2, free=9)
    await asyncio.sleep(0)
    assert made.indices == [0, 2]
    await made.emit(1, Step(b"a", cached_tokens=3))
    assert made.indices == [0, 2, 3]
    await made.emit(0, Step(b"b", cached_tokens=0))
    assert made.indices == [0, 2, 3, 1]
    for number in range(4):
        await made.emit(number, Step((), Finish.STOP))
    await made.end()
    assert made.free == 9
    assert (made.choices.prompt_tokens, made.choices.cached_tokens) == (10, 3)


async def test_an_error_of_one_choice_ends_the_request() -> None:
    made = Started(free=2)
    await made.emit(0, Step(b"a"))
    await made.emit(2, Step((), error=RuntimeError("secret")))
    with pytest.raises(InternalError):
        await made.end()
    made.choices.cancel()
    assert sorted(made.engine.cancelled) == [0, 1, 2]
    assert made.free == 2


async def test_cancelling_frees_the_slots_once() -> None:
    made = Started(free=1)
    await made.emit(0, Step(b"a"))
    await made.emit(0, Step((), Finish.STOP))
    assert made.indices == [0, 1, 2]
    made.choices.cancel()
    made.choices.cancel()
    assert made.free == 1


def test_a_choice_joins_its_pieces() -> None:
    choice = Choice(1)
    for update in (Update((Text("a"),)), Update((Text("b"), Reasoning("c")), Finish.LENGTH)):
        choice.add(update)
    choice.close()
    assert choice.pieces == [Text("ab"), Reasoning("c")]
    assert choice.finish is Finish.LENGTH
