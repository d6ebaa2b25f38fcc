"""Runs generations in llama.cpp, as many at once as its key/value cache holds.

All sequences share the cache, and llama.cpp fails sequences if it is full. Each generation
therefore reserves the tokens that it may need, and waits until they are free, in turns with those
of other callers.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.client import HTTPResponse
from typing import Any

from fleet_contract.errors import NotReady
from fleet_server.engines.llamacpp.server import GONE, Connection, EmbeddedServer
from fleet_server.engines.llamacpp.slices import SlicedPrompt
from fleet_server.engines.llamacpp.steps import NotCached, StepReader
from fleet_server.engines.start_queue import StartQueue
from fleet_server.protocols import Step

logger = logging.getLogger(__name__)

Emit = Callable[[Step], None]
ROUTE = "/completion"


class Running:
    """One generation. `tokens` are the most that it may need; `body` is that of /completion, with
    `prompt`, and `steps` reads its events."""

    def __init__(
        self,
        body: dict[str, Any],
        tokens: int,
        emit: Emit,
        steps: StepReader,
        prompt: SlicedPrompt | None = None,
        caller: str = "",
    ) -> None:
        self.tokens = tokens
        self.emit = emit
        self.caller = caller
        self.cancelled = False
        self.left: Callable[[], None] = lambda: None
        """Called once it is cancelled."""
        self._body = body
        self._steps = steps
        self._prompt = prompt
        self._connection: Connection | None = None

    def cancel(self) -> None:
        """llama.cpp stops a sequence when its connection is closed."""
        self.cancelled = True
        if self._prompt is not None:
            self._prompt.turns.wake()
        connection = self._connection
        if connection is not None and (opened := connection.sock) is not None:
            with contextlib.suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)
        self.left()

    def run(self, server: EmbeddedServer) -> None:
        """Generate until the end; the last step has `finish` or `error`, unless cancelled."""
        try:
            with ExitStack() as until_computed:
                if self._prompt is None:
                    self._generate(server, until_computed)
                else:
                    self._with_slices(server, self._prompt, until_computed)
        except Exception as error:
            # Of any type (http.client raises AttributeError if its socket is shut down): without a
            # last step the request would wait until it times out.
            self._fail(error)
        finally:
            if self._prompt is not None:
                self._prompt.give()

    @contextmanager
    def _posted(self, server: EmbeddedServer, body: Any) -> Iterator[HTTPResponse]:
        """The response to a completion, on a connection of its own: llama.cpp closes one without a
        request after 5 seconds, and turns may take longer."""
        connection = server.connection()
        self._connection = connection
        try:
            # After it is assigned: `cancel` shuts it down, or has been called before.
            if self.cancelled:
                raise ConnectionError("the generation is cancelled")
            yield connection.post(ROUTE, body)
        finally:
            connection.close()

    def _with_slices(
        self, server: EmbeddedServer, prompt: SlicedPrompt, until_computed: ExitStack
    ) -> None:
        """Generate at once if one slice is left at most, or else in turns with others."""
        if prompt.take_cached():
            try:
                self._generate(server, until_computed, prompt.most_new)
            except NotCached as found:
                prompt.correct(found.tokens)
            else:
                return
        self._compute_slices(server, prompt, until_computed)
        self._generate(server, until_computed)

    def _compute_slices(
        self, server: EmbeddedServer, prompt: SlicedPrompt, until_computed: ExitStack
    ) -> None:
        """Compute the prompt but for the last slice, whose turn ends with `until_computed`."""
        until_computed.enter_context(prompt.turns.joined(self))
        turn = until_computed.enter_context(ExitStack())
        turn.enter_context(prompt.turns.turn(self))
        for part in prompt.slices():
            if self.cancelled:
                return
            try:
                with self._posted(server, part) as response:
                    self._steps.read_slice(response, prompt.most_new)
            except NotCached as found:
                prompt.correct(found.tokens)
            turn.close()
            turn.enter_context(prompt.turns.turn(self))

    def _generate(
        self, server: EmbeddedServer, until_computed: ExitStack, most_new: int | None = None
    ) -> None:
        """Raises NotCached before more than `most_new` tokens of the prompt are computed."""
        if self.cancelled:
            return
        with self._posted(server, self._body) as response:
            if most_new is None:
                self._body = {}  # which holds the images of its prompt
            for step in self._steps.read(response, most_new):
                self._body = {}
                until_computed.close()
                if self._prompt is not None:
                    self._prompt.computed()
                    if step.finish is not None:
                        # Before the caller can continue the conversation, which would be computed
                        # in slices from its beginning.
                        self._prompt.give()
                if self.cancelled:
                    return
                self.emit(step)

    def _fail(self, error: Exception) -> None:
        if not self.cancelled:
            logger.warning("a generation failed: %s", type(error).__name__)
            self.emit(Step((), error=error))


class Scheduler:
    """Starts generations within `tokens` of cache and `at_once` threads."""

    def __init__(self, server: EmbeddedServer, tokens: int, at_once: int) -> None:
        self._server = server
        self._tokens = tokens
        self._free = tokens
        self._waiting: StartQueue[Running] = StartQueue()
        self._running: set[Running] = set()
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix="llamacpp")
        self._closing = False

    @property
    def cache_usage(self) -> float:
        """Share of the cache that running generations have reserved, 0..1."""
        return 1 - self._free / self._tokens

    def submit(self, running: Running) -> None:
        """Start the generation, or let it wait. Raises NotReady."""
        # One that needs more has the cache to itself, instead of waiting without end.
        running.tokens = min(running.tokens, self._tokens)
        with self._lock:
            if self._closing:
                raise NotReady(GONE, retry_after=1)
            running.left = self._restart
            self._waiting.append(running)
            self._start()

    def close(self) -> None:
        """End all generations with an error step."""
        with self._lock:
            self._closing = True
            ended = [*self._waiting, *self._running]
            self._waiting.clear()
        for running in ended:
            was_cancelled = running.cancelled
            running.cancel()
            if not was_cancelled:
                running.emit(Step((), error=NotReady(GONE, retry_after=1)))
        self._pool.shutdown()

    def _restart(self) -> None:
        """Start those that waited for one that is cancelled."""
        with self._lock:
            if not self._closing:
                self._start()

    def _start(self) -> None:
        for running in list(self._waiting):
            if running.cancelled:
                self._waiting.remove(running)
        while (found := self._waiting.take(self._fits)) is not None:
            self._free -= found.tokens
            self._running.add(found)
            self._pool.submit(self._run, found)

    def _fits(self, running: Running) -> bool:
        return running.tokens <= self._free

    def _run(self, running: Running) -> None:
        try:
            running.run(self._server)
        finally:
            with self._lock:
                self._free += running.tokens
                self._running.discard(running)
                if not self._closing:
                    self._start()
