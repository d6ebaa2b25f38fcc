"""Runs a prompt on the server's model and responds with its text, whole or as a stream."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from fastapi import Request, Response

from fleet_contract.errors import BadRequest, FleetError, PromptTooLong
from fleet_contract.names import HEADER_UNENFORCED, HEADER_USAGE
from fleet_contract.spec import ModelSpec
from fleet_server.admission import Admission, Slot
from fleet_server.early_stream import EVENT_STREAM, stream_events
from fleet_server.generation.choices import Choice, Choices, Slots
from fleet_server.generation.options import GenerationOptions, check_vocabulary
from fleet_server.generation.output import OutputParser, Parser
from fleet_server.generation.render import Renderer, StreamUsage, event_of_error
from fleet_server.generation.stream import TokenStream, Update
from fleet_server.generation.timings import Timings
from fleet_server.held_stream import HeldStream
from fleet_server.protocols import ChatModel, GuidedModel, OutputFormat, Prompt, ReasoningBudget
from fleet_server.state import ServerState
from fleet_server.tracing import recording as tracing
from fleet_web.client import run_while_connected
from fleet_web.logs import event
from fleet_web.responses import json_response

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PreparedPrompt:
    """The prompts, the renderer of their response and, for chats, how their texts are parsed and
    decoded: `parser` makes the parser of one text. `stop` has stop strings besides the request's.
    `reasoning` bounds that of each text. `output` is the format of the text, instead of that in the
    options, where it depends on the prompt.
    """

    prompts: Sequence[Prompt]
    renderer: Renderer
    parser: Callable[[], Parser] = OutputParser
    decode: Callable[[Sequence[int]], str] | None = None
    stop: tuple[str, ...] = ()
    reasoning: ReasoningBudget | None = None
    output: OutputFormat | None = None


Prepare = Callable[[AsyncExitStack], Awaitable[PreparedPrompt]]
"""Builds the prompt; the stack gives back what it holds when the response has ended. Raises
BadRequest."""
MOST_CHARS_PER_TOKEN = 32
"""On average of a prompt: English has about 4, lines of a table or of white space up to 20."""

Failure = Callable[[FleetError], bytes]


@dataclass(frozen=True, slots=True)
class _Run:
    """The running generations of a request that was `admitted` at that second of the clock."""

    choices: Choices
    renderer: Renderer
    headers: dict[str, str]
    queue_ms: float
    admitted: float

    def timings(self) -> Timings:
        """How long its parts took, at its end."""
        made = self.choices
        return Timings.of(
            self.queue_ms, self.admitted, made.submitted_at, made.first_token_at, time.monotonic()
        )


class Generator:
    """`name` is the name of the log event, `param` the request field that holds the prompt."""

    def __init__(self, server: ServerState, *, name: str, param: str) -> None:
        self._server = server
        self._name = name
        self._param = param

    async def respond(
        self,
        request: Request,
        model: ChatModel,
        options: GenerationOptions,
        prepare: Prepare,
        *,
        num_chars: int,
        failure: Failure = event_of_error,
    ) -> Response:
        """The response, whole or as a stream. `num_chars` is the length of the prompt's texts.

        The prompt is prepared once the request may run, which bounds the work and the memory of
        requests that wait. `failure` renders an error before the first event of a stream that is
        open already. Raises FleetError, and ClientDisconnect.
        """
        server = self._server
        self.check_length(num_chars, model.context_length)
        check_bias(options, model)
        if not options.stream:
            return await run_while_connected(request, self._whole(model, options, prepare))
        return await stream_events(
            request,
            self._streamed(model, options, prepare),
            failure,
            server.early_headers(),
            server.heartbeat,
        )

    async def _whole(
        self, model: ChatModel, options: GenerationOptions, prepare: Prepare
    ) -> Response:
        async with AsyncExitStack() as stack:
            run = await self._start(stack, model, options, prepare)
            made = [Choice(index) for index in range(run.choices.number)]
            async for update in run.choices.updates():
                made[update.index].add(update)
            for choice in made:
                choice.close()
            headers = run.headers | run.timings().headers()
            whole = partial(_rendered, run, made, headers)
            # The probabilities of as many tokens as the context take seconds.
            return await asyncio.to_thread(whole) if options.logprobs is not None else whole()

    async def _streamed(
        self, model: ChatModel, options: GenerationOptions, prepare: Prepare
    ) -> HeldStream:
        """A stream whose first token has been generated, so that an engine's error before it has a
        status of its own."""
        async with AsyncExitStack() as stack:
            run = await self._start(stack, model, options, prepare)
            updates = run.choices.updates()
            first = await anext(updates)
            return HeldStream(
                _events(first, updates, run),
                stack.pop_all(),
                media_type=EVENT_STREAM,
                headers={**run.headers, "cache-control": "no-cache"},
            )

    async def _start(
        self, stack: AsyncExitStack, model: ChatModel, options: GenerationOptions, prepare: Prepare
    ) -> _Run:
        """Wait for a slot and start the generations; `stack` ends them and frees the slot."""
        server = self._server
        admission = server.admission
        slot = await stack.enter_async_context(admission.slot())
        started = time.monotonic()
        server.metrics.queued(slot.queue_ms / 1000)
        prepared = await prepare(stack)
        number = len(prepared.prompts)
        most = [
            room_for(server.spec, prompt, model.context_length, place_of(at, number, self._param))
            for at, prompt in enumerate(prepared.prompts)
        ]
        lengths = [prompt.num_tokens for prompt in prepared.prompts]
        stack.enter_context(server.scores.held(scores_of(options, most, lengths)))
        grammar = await self._compiled(model, prepared.output or options.output)
        check_sequences(grammar, number * options.n)
        loop = asyncio.get_running_loop()
        limit = server.spec.limits.request_timeout
        deadline = loop.time() + limit

        def start(index: int) -> TokenStream:
            at, choice = divmod(index, options.n)
            return TokenStream(
                model,
                prepared.prompts[at],
                options.sampling(most[at], grammar, choice, prepared.reasoning),
                (*options.stop, *prepared.stop),
                deadline - loop.time(),
                prepared.parser(),
                prepared.decode,
                limit,
            )

        choices = Choices(start, number, options.n, _slots(admission, slot))
        prepared.renderer.begin(choices)
        # Callbacks run in reverse order: counts are taken before the engine's slot is freed.
        stack.callback(choices.cancel)
        stack.callback(self._finished, choices, started, slot.queue_ms)
        note_options(options)
        headers = server.headers(slot)
        if unenforced := (*options.unenforced, *getattr(grammar, "unenforced", ())):
            headers[HEADER_UNENFORCED] = ", ".join(unenforced)
        return _Run(choices, prepared.renderer, headers, slot.queue_ms, started)

    async def _compiled(self, model: ChatModel, output: OutputFormat | None) -> Any:
        if output is None:
            return None
        guided = cast(GuidedModel, model)  # `supports` has been checked
        return await self._server.run_blocking(guided.compile, output)

    def check_length(self, num_chars: int, context_length: int) -> None:
        """Raises PromptTooLong for a text that no tokenizer fits into the context."""
        check_length(num_chars, context_length, self._param)

    def _finished(self, stream: Choices, started: float, queue_ms: float) -> None:
        metrics = self._server.metrics
        metrics.tokens("prompt", stream.prompt_tokens)
        metrics.tokens("completion", stream.completion_tokens)
        first = None
        if stream.first_token_at is not None:
            first = stream.first_token_at - started
            metrics.first_token(first)
        event(
            logger, self._name,
            prompt_tokens=stream.prompt_tokens, completion_tokens=stream.completion_tokens,
            queue_ms=round(queue_ms, 1), first_token_ms=first and round(first * 1000, 1),
            ms=round((time.monotonic() - started) * 1000, 1),
        )  # fmt: skip
        if (recording := tracing.current()) is not None:
            recording.generated(
                queue_ms, started, stream.submitted_at, stream.first_token_at, time.monotonic()
            )
            recording.attributes |= {
                "gen_ai.usage.input_tokens": stream.prompt_tokens,
                "gen_ai.usage.cache_read.input_tokens": stream.cached_tokens or 0,
                "gen_ai.usage.output_tokens": stream.completion_tokens,
            }


def note_options(options: GenerationOptions) -> None:
    """Record a request's options for its span, if it is traced."""
    if (recording := tracing.current()) is None:
        return
    recording.attributes |= {
        "gen_ai.request.max_tokens": options.max_tokens,
        "gen_ai.request.temperature": options.temperature,
        "gen_ai.request.top_p": options.top_p,
        "gen_ai.request.choice.count": options.n,
        "gen_ai.request.stream": options.stream,
    }
    if options.seed is not None:
        recording.attributes["gen_ai.request.seed"] = options.seed


def room_for(spec: ModelSpec, prompt: Prompt, context_length: int, param: str) -> int:
    """The context left after a prompt. Raises PromptTooLong."""
    limit = spec.limits.max_prompt_tokens
    longest = context_length - 1 if limit is None else min(limit, context_length - 1)
    if prompt.num_tokens > longest:
        raise PromptTooLong(
            f"The prompt has {prompt.num_tokens} tokens; at most {longest} are accepted (the "
            f"model's context is {context_length} tokens).",
            param=param,
        )
    return context_length - prompt.num_tokens


def check_bias(options: GenerationOptions, model: ChatModel) -> None:
    """Raises BadRequest for a bias of a token that the model does not have."""
    if options.logit_bias:
        check_vocabulary(options.logit_bias, getattr(model, "vocab_size", sys.maxsize))


def check_sequences(grammar: Any, number: int) -> None:
    """Raises BadRequest for a compiled format that so many sequences may not follow."""
    most: int | None = getattr(grammar, "most_sequences", None)
    if most is not None and number > most:
        raise BadRequest(
            f"Compiling the schema takes too long for {number} choices; at most {most} may follow "
            f"it in one request. Use a simpler one.",
            param=grammar.param,
            code="schema_too_expensive",
        )


def scores_of(options: GenerationOptions, most: Sequence[int], lengths: Sequence[int]) -> int:
    """The number of probabilities that a response may have; `most` is the context left after each
    prompt, whose tokens are `lengths`."""
    if options.logprobs is None:
        return 0
    tokens = options.n * sum(min(options.max_tokens, room) for room in most)
    if options.prompt_logprobs:
        tokens += sum(lengths)
    return tokens * (options.logprobs + 1)


def place_of(at: int, number: int, param: str = "prompt") -> str:
    """The place of prompt `at` in a request with `number` prompts."""
    return f"{param}[{at}]" if number > 1 else param


def usage_wanted(request: Request, options: GenerationOptions) -> StreamUsage:
    """Where a stream has its usage; a router wants it as a comment."""
    return StreamUsage(
        options.include_usage, options.continuous_usage, HEADER_USAGE in request.headers
    )


def _rendered(run: _Run, made: Sequence[Choice], headers: Mapping[str, str]) -> Response:
    return json_response(run.renderer.whole(made, run.choices), headers=headers)


async def _events(first: Update, updates: AsyncIterator[Update], run: _Run) -> AsyncIterator[bytes]:
    renderer = run.renderer
    opened: set[int] = set()

    async def rendered(update: Update) -> bytes:
        begin = b""
        if update.index not in opened:
            opened.add(update.index)
            begin = renderer.opening(update.index)
        if not update.prompt_logprobs:
            return begin + b"".join(renderer.update(update))
        return begin + await asyncio.to_thread(lambda: b"".join(renderer.update(update)))

    yield await rendered(first)
    try:
        async for update in updates:
            yield await rendered(update)
    except FleetError as error:
        yield renderer.failure(error)
        return
    yield b"".join(renderer.closing(run.choices, run.timings()))


def _slots(admission: Admission, slot: Slot) -> Slots:
    """Further slots for the caller of a request that has one."""
    return Slots(
        take=lambda: admission.take_free(slot.caller), free=lambda: admission.free(slot.caller)
    )


def check_length(num_chars: int, context_length: int, param: str) -> None:
    """Raises PromptTooLong for a text that no tokenizer fits into the context."""
    most = context_length * MOST_CHARS_PER_TOKEN
    if num_chars > most:
        raise PromptTooLong(
            f"The prompt has {num_chars} characters; at most {most} are accepted (the model's "
            f"context is {context_length} tokens).",
            param=param,
        )
