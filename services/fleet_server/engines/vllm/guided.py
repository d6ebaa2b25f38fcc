"""Formats of texts in vLLM's process: compiled once, within the limits of the other engines.

vLLM compiles a grammar again for each request, with the limits that llguidance has by default: a
lexer of 250,000 states, of 1 to 2 kB each. A text whose format exceeds a limit would end as if it
were complete.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import llguidance
from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.structured_output.backend_guidance import GuidanceBackend, GuidanceGrammar

from fleet_server.engines.guided.compiler import CACHED, LIMITS, keeping_texts
from fleet_server.engines.guided.deep_threads import result_of
from fleet_server.engines.vllm.allowance import Allowance, share_step

logger = logging.getLogger(__name__)


class LimitedGrammar(GuidanceGrammar):  # type: ignore[misc]
    """The format of one sequence. Not thread-safe."""

    def __init__(self, *args: Any, **fields: Any) -> None:
        super().__init__(*args, **fields)
        self.allowance = Allowance()
        self.failed = False

    def accept_tokens(self, request_id: str, tokens: list[int]) -> bool:
        """Continue after these tokens. False ends the generation with an error: the tokens do not
        follow the grammar, or following it takes too long."""
        started = time.thread_time()
        accepted: bool = super().accept_tokens(request_id, tokens)
        self.allowance.spend(time.thread_time() - started)
        failed = self.failed or self.ll_matcher.is_error()
        return accepted and not failed and not self.allowance.exceeded

    def fill_bitmask(self, bitmask: Any, idx: int) -> None:
        """Set the row of the tokens that may come next; that of an error is the end."""
        started = time.thread_time()
        try:
            super().fill_bitmask(bitmask, idx)
        except BaseException:  # a panic in Rust is not an Exception, and would end the process
            logger.exception("a mask failed")
            self.failed = True
        self.allowance.spend(time.thread_time() - started)


class LimitedBackend(GuidanceBackend):  # type: ignore[misc]
    """Compiles in threads of vLLM's. Thread-safe."""

    def __post_init__(self) -> None:
        # Not as in the base class, which reads the vocabulary: 0.3 s for 25,000 tokens, if busy.
        self._reading = threading.Lock()
        self._read: Any = None
        self._compiled = lru_cache(CACHED)(self._matcher)

    @property
    def ll_tokenizer(self) -> Any:
        """The vocabulary, read for the first format."""
        with self._reading:
            if self._read is None:
                built = self._build_ll_tokenizer(self.tokenizer, self.vocab_size)
                self._read = keeping_texts(built)
            return self._read

    def compile_grammar(
        self, request_type: Any, grammar_spec: str, stop_token_ids: set[int] | None = None
    ) -> LimitedGrammar:
        """The grammar of a new sequence, of the text of `spec_of`. Raises ValueError."""
        source, begun = json.loads(grammar_spec)
        matcher = self._compiled(source).deep_copy()
        if begun:
            matcher.consume_tokens(begun)
        return LimitedGrammar(matcher, self.ll_tokenizer, self.vocab_size)

    def _matcher(self, source: str) -> Any:
        try:
            return result_of(lambda: self._made(source))
        except BaseException as error:
            # A panic in Rust is not an Exception, and would end vLLM's process.
            raise ValueError(str(error)) from error

    def _made(self, source: str) -> Any:
        limits = llguidance.LLParserLimits(**LIMITS)
        matcher = llguidance.LLMatcher(self.ll_tokenizer, source, limits=limits, log_level=0)
        matcher.compute_bitmask()  # here instead of in a step; copies keep it
        if matcher.is_error():
            raise ValueError(matcher.get_error())
        return matcher


def spec_of(source: str, begun: Sequence[int]) -> str:
    """What `compile_grammar` reads: a grammar in Lark, and the tokens of the text so far."""
    return json.dumps([source, list(begun)])


class LimitedSteps:
    """Mixin of vLLM's schedulers: uses LimitedBackend, and limits what the masks of a step cost."""

    def __init__(self, *args: Any, **fields: Any) -> None:
        super().__init__(*args, **fields)
        _limit(self.structured_output_manager)  # type: ignore[attr-defined]

    def get_grammar_bitmask(self, scheduler_output: Any) -> Any:
        """The masks of a step; None if no sequence in it has a format."""
        found = super().get_grammar_bitmask(scheduler_output)  # type: ignore[misc]
        if found is not None:
            requests = self.requests  # type: ignore[attr-defined]
            ids = found.structured_output_request_ids
            share_step([requests[each].structured_output_request.grammar.allowance for each in ids])
        return found


class LimitedScheduler(LimitedSteps, Scheduler):  # type: ignore[misc]
    """Of steps one after the other."""


class LimitedAsyncScheduler(LimitedSteps, AsyncScheduler):  # type: ignore[misc]
    """Of steps that are scheduled while others run."""


def scheduler_name(*, is_async: bool) -> str:
    """The class for `scheduler_cls`, as its name: the process of vLLM imports it."""
    kind = LimitedAsyncScheduler if is_async else LimitedScheduler
    return f"{kind.__module__}.{kind.__qualname__}"


def _limit(manager: Any) -> None:
    # The manager makes a backend with the first request unless it has one.
    config = manager.vllm_config
    vocab_size = config.model_config.get_vocab_size()
    manager.backend = LimitedBackend(config, manager.tokenizer, vocab_size)
