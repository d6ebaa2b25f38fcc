"""The generations of one request: one for each choice of each prompt."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace

from fleet_server.generation.logprobs import ScoredToken
from fleet_server.generation.pieces import Piece, merged
from fleet_server.generation.stream import TokenStream, Update
from fleet_server.protocols import Finish, TokenLogprobs


@dataclass(slots=True)
class Choice:
    """A complete choice. `index` is its place in the response."""

    index: int
    pieces: list[Piece] = field(default_factory=list)
    finish: Finish = Finish.STOP
    logprobs: list[ScoredToken] = field(default_factory=list)
    prompt_logprobs: Sequence[TokenLogprobs] = ()
    stop: str | None = None
    """The stop string that ended it."""

    def add(self, update: Update) -> None:
        self.pieces += update.pieces
        self.logprobs += update.logprobs
        self.prompt_logprobs = update.prompt_logprobs or self.prompt_logprobs
        self.finish = update.finish or self.finish
        self.stop = update.stop or self.stop

    def close(self) -> None:
        """Join adjacent pieces, after the last update."""
        self.pieces = merged(self.pieces)


@dataclass(frozen=True, slots=True)
class Slots:
    """Slots besides that of the request: `take` gets one if it is free, `free` gives one back."""

    take: Callable[[], bool]
    free: Callable[[], None]


class Choices:
    """Iterate `updates` once; `cancel` at any time frees the engine's slots.

    `start` starts the choice of an index. `each` choices of the same prompt follow each other: the
    first one runs alone until it has a token, so that the others find the prompt in the engine's
    prefix cache. One choice runs in the slot of the request; others run at the same time if there
    are free slots, else one after the other. So they wait for nothing that another request holds.
    """

    def __init__(
        self, start: Callable[[int], TokenStream], prompts: int, each: int, slots: Slots
    ) -> None:
        self.number = prompts * each
        self.submitted_at = time.monotonic()
        self._start = start
        self._each = each
        self._slots = slots
        self._taken = 0
        self._idle = 0
        """Slots, of those taken and that of the request, in which no choice runs."""
        self._ready = deque(range(each, self.number, each))
        self._started: dict[int, TokenStream] = {0: start(0)}
        self._tasks: list[asyncio.Task[None]] = []
        self._updates: asyncio.Queue[Update | Exception] = asyncio.Queue()

    @property
    def prompt_tokens(self) -> int:
        """Tokens of all prompts; the choices of one share it."""
        return sum(stream.prompt_tokens for stream in self._firsts)

    @property
    def cached_tokens(self) -> int | None:
        """How many of the prompts' tokens were in a cache, None if the engine does not count."""
        found = [stream.cached_tokens for stream in self._firsts]
        known = [number for number in found if number is not None]
        return sum(known) if known else None

    @property
    def completion_tokens(self) -> int:
        return sum(stream.completion_tokens for stream in self._started.values())

    @property
    def reasoning_tokens(self) -> int | None:
        """How many of the completion's tokens are reasoning; None for a model without."""
        found = [stream.reasoning_tokens for stream in self._started.values()]
        known = [number for number in found if number is not None]
        return sum(known) if known else None

    @property
    def first_token_at(self) -> float | None:
        """The clock's seconds (`time.monotonic`) at the first token of any choice."""
        times = [stream.first_token_at for stream in self._started.values()]
        return min((at for at in times if at is not None), default=None)

    @property
    def _firsts(self) -> list[TokenStream]:
        """The first choice of each prompt that has started."""
        return [stream for at, stream in self._started.items() if at % self._each == 0]

    def cancel(self) -> None:
        for stream in self._started.values():
            stream.cancel()
        for task in self._tasks:
            task.cancel()
        while self._taken:
            self._free_one()

    async def updates(self) -> AsyncIterator[Update]:
        """The updates of all choices as they come. Raises FleetError if one of them fails."""
        if self.number == 1:
            async for update in self._started[0].updates():
                yield update
            return
        self._read(0)
        begun: set[int] = set()
        left = self.number
        while left:
            self._fill()
            found = await self._updates.get()
            if isinstance(found, Exception):
                raise found
            update = found
            if update.index % self._each == 0 and update.index not in begun:
                begun.add(update.index)
                self._ready.extend(range(update.index + 1, update.index + self._each))
            if update.finish is not None:
                left -= 1
                self._idle += 1
            yield update

    def _fill(self) -> None:
        """Start choices in idle and free slots."""
        while self._ready and (self._idle or self._take_one()):
            self._idle -= 1
            index = self._ready.popleft()
            self._started[index] = self._start(index)
            self._read(index)
        if len(self._started) == self.number:
            while self._idle and self._taken:
                self._idle -= 1
                self._free_one()

    def _take_one(self) -> bool:
        if not self._slots.take():
            return False
        self._taken += 1
        self._idle += 1
        return True

    def _free_one(self) -> None:
        self._taken -= 1
        self._slots.free()

    def _read(self, index: int) -> None:
        self._tasks.append(asyncio.create_task(self._forward(index)))

    async def _forward(self, index: int) -> None:
        try:
            async for update in self._started[index].updates():
                self._updates.put_nowait(replace(update, index=index))
        except Exception as error:
            self._updates.put_nowait(error)
