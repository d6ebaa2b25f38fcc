"""Turns the engine's steps into a stream of text on the event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from fleet_contract.errors import FleetError, InternalError, Timeout
from fleet_server.generation.detokenize import TextStream
from fleet_server.protocols import ChatModel, Finish, Generation, Prompt, Sampling, Step


@dataclass(frozen=True, slots=True)
class TextUpdate:
    """New text; `finish` is set on the last update."""

    text: str
    finish: Finish | None = None


class TokenStream:
    """One generation. Iterate `updates` once; `cancel` at any time frees the engine's slot.

    A generation that takes longer than `seconds` ends with Timeout.
    """

    def __init__(
        self,
        model: ChatModel,
        prompt: Prompt,
        sampling: Sampling,
        stop: Sequence[str],
        seconds: float,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._steps: asyncio.Queue[Step] = asyncio.Queue()
        self._text = TextStream(model.decode, stop, prompt.tail)
        self.prompt_tokens = prompt.num_tokens
        self.completion_tokens = 0
        self.first_token_at: float | None = None
        self._generation: Generation = model.submit(prompt, sampling, self._emit)
        self._deadline = self._loop.call_later(seconds, self._time_out, seconds)

    def cancel(self) -> None:
        self._deadline.cancel()
        self._generation.cancel()

    async def updates(self) -> AsyncIterator[TextUpdate]:
        """Text that can no longer change. If the engine fails, the text generated so far is
        yielded before FleetError is raised."""
        finish: Finish | None = None
        error: Exception | None = None
        while finish is None and error is None:
            text = ""
            for step in await self._available():
                error, finish = step.error, step.finish
                if error is not None:
                    break
                number = len(step.token_ids) if step.delta is None else step.delta.num_tokens
                if number and self.first_token_at is None:
                    self.first_token_at = time.monotonic()
                self.completion_tokens += number
                if step.delta is None:
                    text += self._text.feed(step.token_ids)
                else:
                    text += self._text.feed_text(step.delta.text)
                if finish is not None:
                    text += self._text.flush()
                    break
            if self._text.stopped:
                finish = Finish.STOP
                self.cancel()
            elif error is not None:
                text += self._text.rest()
            if text or finish is not None:
                yield TextUpdate(text, finish)
        if error is not None and finish is None:
            raise _fleet_error(error)

    async def _available(self) -> list[Step]:
        """At least one step, and those already queued: one event for several steps is cheaper."""
        steps = [await self._steps.get()]
        while not self._steps.empty():
            steps.append(self._steps.get_nowait())
        return steps

    def _time_out(self, seconds: float) -> None:
        error = Timeout(f"The response took longer than {seconds:g} seconds.")
        self._steps.put_nowait(Step((), error=error))

    def _emit(self, step: Step) -> None:
        try:
            self._loop.call_soon_threadsafe(self._steps.put_nowait, step)
        except RuntimeError:  # the loop is closed, so there is no reader
            self._generation.cancel()


def _fleet_error(error: Exception) -> FleetError:
    # The text of an engine's exception may hold paths or prompts, so clients do not get it.
    if isinstance(error, FleetError):
        return error
    failure = InternalError("The engine failed while answering this request.")
    failure.__cause__ = error
    return failure
