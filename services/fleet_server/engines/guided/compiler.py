"""Compiles formats with llguidance, within a time limit, and keeps the most recently used ones.

llguidance computes the mask of a token in about 0.1 ms where xgrammar, which OpenVINO GenAI uses,
first computes the mask of every state: 7 s for `{"type": "string", "maxLength": 500}`.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import llguidance

from fleet_contract.errors import BadRequest, QueueFull
from fleet_server.engines.guided import json_schema, lark
from fleet_server.engines.guided.ahead import Ahead
from fleet_server.engines.guided.deep_threads import started
from fleet_server.engines.guided.lark import Plan
from fleet_server.engines.guided.masks import Masks, refusal
from fleet_server.protocols import FormatKind, OutputFormat

DEADLINE_SECONDS = 10.0
CACHED = 64
THREADS = 2
MAX_WAITING = 32
NICENESS = 10
"""Of the compiling threads, which must not slow down the running sequences."""
KEPT_TEXTS = 4096
KEPT_CHARS = 256
"""Tokens of texts up to this length are kept."""
WHITE_SPACE = r" |\n {0,16}"
"""Little, since small models tend to repeat it without end."""
FLEXIBLE: dict[str, Any] = {"whitespace_flexible": True, "whitespace_pattern": WHITE_SPACE}
EXACT: dict[str, Any] = {"coerce_one_of": False, "lenient": False}
RELAXED: dict[str, Any] = {"coerce_one_of": True, "lenient": True}
LIMITS: dict[str, Any] = {
    "step_lexer_fuel": 100_000,
    "step_max_items": 50_000,
    "max_lexer_states": 10_000,
    "max_grammar_size": 100_000,
    "verbose_errors": False,
}
"""A step's fuel is about 7 ms, a lexer state 1 to 2 kB."""


@dataclass(frozen=True, slots=True)
class GuidedVocabulary:
    """A vocabulary: the bytes of each token, the ids that are not text, those that end a text, and
    the function that tokenises a text."""

    pieces: Sequence[bytes]
    special: Collection[int]
    stop_ids: Sequence[int]
    encode: Callable[[str], Iterable[int]]


class Grammar:
    """A compiled format; `start` returns the masks of a new sequence. Thread-safe.

    `unenforced` are the keywords of its schemas that it leaves out, `cpu_seconds` is the processor
    time of its compilation.
    """

    def __init__(
        self, matcher: Any, tokenizer: Any, plan: Plan, param: str, ahead: Ahead | None = None
    ) -> None:
        self.plan = plan
        self.unenforced: tuple[str, ...] = ()
        self.cpu_seconds = 0.0
        self._matcher = matcher
        self._tokenizer = tokenizer
        self._param = param
        self._ahead = ahead

    def matcher(self) -> Any:
        """An `llguidance.LLMatcher` at the beginning of a text."""
        return self._matcher.deep_copy()

    def start(self) -> Masks:
        tokenizer = self._tokenizer
        return Masks(
            self.matcher(), tokenizer.vocab_size, tokenizer.eos_token, self._param,
            self._ahead,
        )  # fmt: skip


class GrammarCompiler:
    """Compiles in threads of its own. Thread-safe. `white_space` are llguidance's options for that
    of JSON. `cpu_seconds` is the processor time that a format may take, None for no such limit."""

    def __init__(
        self,
        tokens: GuidedVocabulary,
        deadline: float = DEADLINE_SECONDS,
        white_space: Mapping[str, Any] = FLEXIBLE,
        cpu_seconds: float | None = None,
    ) -> None:
        self._tokens = tokens
        self._white_space = white_space
        self._deadline = deadline
        self._cpu_seconds = cpu_seconds
        self._tokenizer: Any = None
        self._known: OrderedDict[OutputFormat, Future[Grammar]] = OrderedDict()
        self._lock = threading.Lock()
        self._loading = threading.Lock()
        self._work: queue.Queue[tuple[OutputFormat, Future[Grammar]] | None]
        self._work = queue.Queue(MAX_WAITING)
        self._ahead = Ahead()
        self._threads = started(self._run, THREADS)

    def compile(self, wanted: OutputFormat) -> Grammar:
        """Blocks for `deadline` seconds at most.

        Raises BadRequest for a schema that is invalid, not supported or takes too long, and
        QueueFull if too many schemas wait.
        """
        future = self._future(wanted)
        try:
            return future.result(self._deadline)
        except BadRequest as error:
            # A copy: the cached one would keep the frames of every request that it is raised in.
            raise BadRequest(error.message, param=error.param, code=error.code) from None
        except TimeoutError:
            raise _too_expensive(self._deadline, wanted) from None

    def close(self) -> None:
        """End the threads after the schemas that they compile, and the masks."""
        for _ in self._threads:
            # If the queue is full, the daemon threads end with the process.
            with contextlib.suppress(queue.Full):
                self._work.put_nowait(None)
        self._ahead.close()

    def _future(self, wanted: OutputFormat) -> Future[Grammar]:
        with self._lock:
            future = self._known.get(wanted)
            if future is None:
                future = Future()
                try:
                    self._work.put_nowait((wanted, future))
                except queue.Full:
                    raise QueueFull(
                        f"{MAX_WAITING} schemas wait to be compiled; please try again.",
                        retry_after=1,
                    ) from None
                self._known[wanted] = future
            self._known.move_to_end(wanted)
            while len(self._known) > CACHED:
                self._known.popitem(last=False)
            return future

    def _run(self) -> None:
        with contextlib.suppress(OSError, AttributeError):  # not on Linux
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        self._loaded()  # before the first request, which would wait for it
        while (item := self._work.get()) is not None:
            wanted, future = item
            began = time.thread_time()
            try:
                made = self._compiled(wanted)
                if self._cpu_seconds is not None and time.thread_time() - began > self._cpu_seconds:
                    raise _too_expensive(self._cpu_seconds, wanted)
                future.set_result(made)
            except BaseException as error:  # a panic in Rust is not an Exception
                future.set_exception(error)

    def _compiled(self, wanted: OutputFormat) -> Grammar:
        source, param, parts = wanted.source, wanted.param, wanted.parts
        match wanted.kind:
            case FormatKind.REGEX:
                return self._made(Plan(lark.of_regex(source)), param, "pattern")
            case FormatKind.GRAMMAR:
                return self._made(Plan(lark.of_grammar(source, param)), param, "grammar")
            case FormatKind.JSON_SCHEMA:
                source, parts = "start: part_0", (wanted,)
            case FormatKind.CALLS:
                pass
        unenforced: set[str] = set()
        terms: list[str] = []
        for part in parts:
            term, left_out = self._schema(part)
            terms.append(term)
            unenforced |= left_out
        made = self._made(Plan(source, tuple(terms), wanted.marks, wanted.loose), param)
        made.unenforced = tuple(sorted(unenforced))
        return made

    def _schema(self, wanted: OutputFormat) -> tuple[str, set[str]]:
        """The term of a schema, and the keywords it leaves out. Raises BadRequest."""
        try:
            given = json.loads(wanted.source)
            if not isinstance(given, dict):
                raise ValueError("it is not an object")
            schema = json_schema.equivalent(given)
            term = lark.schema_term(schema, {**self._white_space, **EXACT})
        except (ValueError, RecursionError) as error:
            raise refusal(str(error), wanted.param) from error
        try:
            self._check(term, wanted.param)
            return term, set()
        except BadRequest:
            if wanted.strict:
                raise
        kept, dropped = json_schema.relaxed(schema, self._fits)
        term = lark.schema_term(kept, {**self._white_space, **RELAXED})
        warnings = self._check(term, wanted.param)
        return term, dropped | json_schema.unenforced(warnings, kept)

    def _made(self, plan: Plan, param: str, what: str = "schema") -> Grammar:
        tokenizer = self._loaded()
        limits = llguidance.LLParserLimits(**LIMITS)
        source = plan.text(self._special)
        began = time.thread_time()
        matcher = llguidance.LLMatcher(tokenizer, source, limits=limits, log_level=0)
        if matcher.is_error():
            raise refusal(matcher.get_error(), param, what)
        # Computes what the first mask needs here instead of in a step; copies keep it.
        mask = matcher.compute_bitmask()
        if matcher.is_error() or not any(mask):
            raise refusal(matcher.get_error(), param, what)
        made = Grammar(matcher, tokenizer, plan, param, self._ahead)
        made.cpu_seconds = time.thread_time() - began
        return made

    def _check(self, term: str, param: str) -> list[str]:
        """Compile a term alone, and return the warnings. Raises BadRequest."""
        limits = llguidance.LLParserLimits(**LIMITS)
        failed, found = llguidance.LLMatcher.validate_grammar_with_warnings(
            f"start: {term}", self._loaded(), limits=limits
        )
        if failed:
            raise refusal(found[0], param)
        return list(found)

    def _fits(self, schema: Mapping[str, Any]) -> bool:
        """Whether a small schema compiles."""
        try:
            self._check(lark.schema_term(schema, EXACT), "")
        except (ValueError, BadRequest):
            return False
        return True

    def _special(self, text: str) -> int | None:
        """The id of the special token with this text."""
        ids = [int(token) for token in self._tokens.encode(text)]
        return ids[0] if len(ids) == 1 and ids[0] in self._tokens.special else None

    def _loaded(self) -> Any:
        """The vocabulary as an LLTokenizer, built once: it takes 0.1 s for each 25,000 tokens."""
        with self._loading:
            if self._tokenizer is None:
                self._tokenizer = _tokenizer(self._tokens)
            return self._tokenizer


def keeping_texts(tokenizer: Any) -> Any:
    """An LLTokenizer of the same vocabulary, which tokenises each short text once."""
    ids = range(tokenizer.vocab_size)
    pieces = [tokenizer.decode_bytes([each]) for each in ids]
    special = [each for each in ids if tokenizer.is_special_token(each)]
    return _tokenizer(
        GuidedVocabulary(pieces, special, tokenizer.eos_tokens, tokenizer.tokenize_str)
    )


class _Wrapped:
    """The attributes that llguidance reads of a tokenizer."""

    bos_token_id = None

    def __init__(self, tokens: GuidedVocabulary) -> None:
        self.eos_token_id = tokens.stop_ids[0]
        self.tokens = list(tokens.pieces)
        self.special_token_ids = sorted(tokens.special)
        self._encode = tokens.encode
        self._kept = lru_cache(KEPT_TEXTS)(self._tokens)

    def __call__(self, text: bytes | str) -> list[int]:
        # Where only one text may follow, such as the name of a property, llguidance tokenises it
        # for each mask, which takes several times as long as any other mask.
        given = text.decode() if isinstance(text, bytes) else text
        return list(self._kept(given) if len(given) <= KEPT_CHARS else self._tokens(given))

    def _tokens(self, text: str) -> tuple[int, ...]:
        return tuple(int(token_id) for token_id in self._encode(text))


def _tokenizer(tokens: GuidedVocabulary) -> Any:
    wrapped = llguidance.TokenizerWrapper(_Wrapped(tokens))
    return llguidance.LLTokenizer(
        wrapped, n_vocab=len(tokens.pieces), eos_token=list(tokens.stop_ids)
    )


def _too_expensive(seconds: float, wanted: OutputFormat) -> BadRequest:
    return BadRequest(
        f"Compiling the schema takes longer than {seconds:g} seconds; use a simpler one.",
        param=wanted.param,
        code="schema_too_expensive",
    )
