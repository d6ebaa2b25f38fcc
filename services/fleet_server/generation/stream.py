"""Turns the engine's steps into a stream of pieces on the event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from fleet_contract.errors import FleetError, InternalError, Timeout
from fleet_server.generation.detokenize import TextStream
from fleet_server.generation.logprobs import ScoredToken, Scores, pieces_of
from fleet_server.generation.output import OutputParser, Parser
from fleet_server.generation.pieces import Piece, merged, text_of
from fleet_server.protocols import (
    ChatModel,
    Finish,
    Generation,
    Prompt,
    Sampling,
    Step,
    TokenLogprobs,
)


@dataclass(frozen=True, slots=True)
class Update:
    """New pieces of the choice number `index`; `finish` is set on the last update, with the stop
    string that ended the text, if one did. `logprobs` are of the tokens that begin in the new text,
    `prompt_logprobs` of the prompt's, if the request wants them, in one update."""

    pieces: tuple[Piece, ...] = ()
    finish: Finish | None = None
    index: int = 0
    logprobs: tuple[ScoredToken, ...] = ()
    stop: str | None = None
    prompt_logprobs: Sequence[TokenLogprobs] = ()

    @property
    def text(self) -> str:
        """The new text."""
        return text_of(self.pieces)


class TokenStream:
    """One generation. Iterate `updates` once; `cancel` at any time frees the engine's slot.

    A generation that takes longer than `seconds` ends with Timeout, which names `limit` instead if
    it is given: the seconds of the whole request. `parser` finds reasoning and tool calls in the
    text; `decode` replaces the model's.
    """

    def __init__(
        self,
        model: ChatModel,
        prompt: Prompt,
        sampling: Sampling,
        stop: Sequence[str],
        seconds: float,
        parser: Parser | None = None,
        decode: Callable[[Sequence[int]], str] | None = None,
        limit: float | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._steps: asyncio.Queue[Step] = asyncio.Queue()
        self._text = TextStream(decode or model.decode, stop, prompt.tail)
        self._parser = parser or OutputParser()
        self._scores = Scores(pieces_of(model))
        self.prompt_tokens = prompt.num_tokens
        self.cached_tokens: int | None = None
        """How many tokens of the prompt were in a cache, None if the engine does not count."""
        self._prompt_logprobs: Sequence[TokenLogprobs] = ()
        self.completion_tokens = 0
        self.first_token_at: float | None = None
        self._generation: Generation = model.submit(prompt, sampling, self._emit)
        self._deadline = self._loop.call_later(
            seconds, self._time_out, seconds if limit is None else limit
        )

    def cancel(self) -> None:
        self._deadline.cancel()
        self._generation.cancel()

    @property
    def reasoning_tokens(self) -> int | None:
        """How many of the completion's tokens are reasoning; None for a model without."""
        return self._parser.reasoning_tokens

    async def updates(self) -> AsyncIterator[Update]:
        """Pieces that can no longer change. If the engine fails, those generated so far are yielded
        before FleetError is raised."""
        finish: Finish | None = None
        error: Exception | None = None
        while finish is None and error is None:
            pieces: list[Piece] = []
            for step in await self._available():
                error, finish = step.error, step.finish
                if error is not None:
                    break
                number = len(step.token_ids) if step.delta is None else step.delta.num_tokens
                if number and self.first_token_at is None:
                    self.first_token_at = time.monotonic()
                if step.cached_tokens is not None:
                    self.cached_tokens = step.cached_tokens
                if step.prompt_logprobs:
                    self._prompt_logprobs = step.prompt_logprobs
                self.completion_tokens += number
                pieces += self._parsed(step, number)
                if self._parser.done or self._text.stopped:
                    finish = Finish.STOP
                    self.cancel()
                if finish is not None:
                    break
            pieces += self._held(finish, error)
            if finish is Finish.STOP and self._parser.called:
                finish = Finish.TOOL_CALLS
            if pieces or finish is not None:
                stop = self._text.stop if finish is Finish.STOP else None
                prompt, self._prompt_logprobs = self._prompt_logprobs, ()
                yield Update(
                    tuple(merged(pieces)),
                    finish,
                    logprobs=self._scored(finish),
                    stop=stop or None,
                    prompt_logprobs=prompt,
                )
        if error is not None and finish is None:
            raise _fleet_error(error)

    def _parsed(self, step: Step, number: int) -> list[Piece]:
        """The pieces that are certain with the tokens of a step."""
        before = self._parser.reasoning_tokens
        pieces = self._parser.feed(self._new_text(step), number)
        if step.logprobs:
            self._scores.settle(pieces, reasoning=self._parser.reasoning_tokens != before)
        return pieces

    def _new_text(self, step: Step) -> str:
        """The text that can be returned with the tokens of a step."""
        text = self._text
        if step.delta is not None:
            for found in step.logprobs:
                self._scores.add(found, text.decoded)
            return text.feed_text(step.delta.text)
        if not step.logprobs:
            return text.feed(step.token_ids)
        new = ""
        for token_id, found in zip(step.token_ids, step.logprobs, strict=True):
            self._scores.add(found, text.decoded)
            new += text.feed([token_id])
        return new

    def _scored(self, finish: Finish | None) -> tuple[ScoredToken, ...]:
        """The tokens of the text returned so far; at the end all but those of a stop string."""
        final = finish is not None and not self._text.stopped
        return tuple(self._scores.released(self._text.returned, final=final))

    def _held(self, finish: Finish | None, error: Exception | None) -> list[Piece]:
        """The pieces held back, at the end of the generation."""
        if error is not None:
            text = self._text.rest()
        elif finish is not None:
            text = self._text.flush()
        else:
            return []
        return [*self._parser.feed(text, 0), *self._parser.flush()]

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
    failure = InternalError("The engine failed during this request.")
    failure.__cause__ = error
    return failure
