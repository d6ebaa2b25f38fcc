"""A backend for structured output in OpenVINO GenAI, whose masks are computed in Python.

GenAI keeps a registry of such backends (`StructuredOutputController::register_backend`), but its
Python binding does not expose it. The objects that the registry expects are therefore written in
memory in the layout of the Itanium C++ ABI and libstdc++, with ctypes callbacks as their methods:

* a `std::function` that makes the backend;
* the backend, an `IStructuredOutputImpl`, which makes a transformer for each request;
* the transformers, `IStatefulLogitTransformer`s: `apply` changes the logits of the next token,
  `accept_tokens` gets the sampled ones.

A request refers to its masks by a number in the `grammar` of its configuration. `check` generates
with a mask and compares the result before a pipeline is used this way.
"""

from __future__ import annotations

import ctypes
import itertools
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import openvino
import openvino_genai
from numpy.typing import NDArray

from fleet_server.engines.openvino import unlocked

logger = logging.getLogger(__name__)

NAME = b"modelfleet"
MARK = b"modelfleet:"
"""With a number of four digits it is short enough to be stored within a `std::string`."""
SLOTS = 4096
"""Transformers; far more than sequences at once, so that a slot is reused long after its end."""
CONFIG_BYTES = 1024
"""Of a `GenerationConfig`, in which the mark is looked for; it is within the first half."""
CHECK_ID = 1 << 40
"""Of the request of `check`; others are numbered from 0."""
CONTROLLER = "_ZN2ov5genai26StructuredOutputController"
STRING = "RKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE"
REGISTER = (
    f"{CONTROLLER}16register_backendE{STRING}St8functionIFSt10unique_ptrINS0_21IStructuredOutputImpl"
    "ESt14default_deleteISC_EERKNS0_9Tokenizer13TokenizerImplESt8optionalIiEEE"
)
SET_DEFAULT = f"{CONTROLLER}19set_default_backendE{STRING}"
TRANSFORMER = "N2ov5genai17LogitTransformers25XGrammarLogitsTransformerE"
IS_APPLICABLE = "_ZN2ov5genai17LogitTransformers17ILogitTransformer13is_applicableEm"

Word = ctypes.c_void_p
Pair = ctypes.c_uint64 * 2
Action = ctypes.CFUNCTYPE(None, Word, Word)
Maker = ctypes.CFUNCTYPE(Word, Word, Word, Word)
Factory = ctypes.CFUNCTYPE(Word, Word, Word, Word, Word)


class TokenMasks(Protocol):
    """The masks of one sequence (fleet_server.engines.guided.masks)."""

    error: Any

    def apply(self, logits: NDArray[np.float32], sequences: int = 1) -> None: ...

    def accept(self, token_ids: Sequence[int]) -> None: ...


class Backend:
    """Registered once per process: GenAI's registry is global and keeps what it is given."""

    def __init__(self, library: ctypes.CDLL) -> None:
        """Raises AttributeError if the library lacks a function."""
        self._kept: list[Any] = []
        self._running: dict[int, TokenMasks] = {}
        self._numbers = itertools.count()
        self._floats: Any = None
        """The type of an array of logits: making one takes longer than the rest of a call."""
        nothing = _address(ctypes.CDLL(None).abs)  # for destructors: callbacks may not outlive us
        methods = self._words(
            0,
            ctypes.addressof(ctypes.c_char.in_dll(library, f"_ZTI{TRANSFORMER}")),
            self._callback(Action, self._apply),
            _address(getattr(library, IS_APPLICABLE)),
            self._callback(Action, self._accept),
        )
        # Slots of two words: the methods, and padding.
        self._slots = self._words(*[methods + 2 * WORD, 0] * SLOTS)
        implementation = self._words(
            0, 0, nothing, nothing, self._callback(Maker, self._transformer), nothing
        )
        self._backend = self._words(implementation + 2 * WORD)
        function = self._words(0, 0, nothing, self._callback(Factory, self._made))
        self._call(library, REGISTER, self._string(NAME), function)
        self._call(library, SET_DEFAULT, self._string(NAME))

    def add(self, masks: TokenMasks) -> tuple[int, Any]:
        """A number for `remove`, and the structured output configuration of a request."""
        number = next(self._numbers) % SLOTS
        self._running[number] = masks
        grammar = f"{MARK.decode()}{number:04d}"
        return number, openvino_genai.StructuredOutputConfig(grammar=grammar)

    def remove(self, number: int) -> None:
        """Forget a request. Idempotent; its masks are not used any more."""
        self._running.pop(number, None)

    def _made(self, result: int, _function: int, _tokenizer: int, _size: int) -> int:
        _write(result, self._backend)
        return result

    def _transformer(self, result: int, _backend: int, config: int) -> int:
        raw = ctypes.string_at(config, CONFIG_BYTES)
        begin = raw.index(MARK) + len(MARK)
        slot = self._slots + int(raw[begin : begin + 4]) * 2 * WORD
        _write(result, slot, 0)  # a shared_ptr that owns nothing
        return result

    def _apply(self, this: int, logits: int) -> None:
        if (masks := self._masks(this)) is None:
            return
        try:
            masks.apply(self._row(logits), len(self._running))
        except Exception as error:
            masks.error = error

    def _accept(self, this: int, token_ids: int) -> None:
        if (masks := self._masks(this)) is None:
            return
        begin, end = _pair(token_ids)
        try:
            masks.accept(
                [ctypes.c_int64.from_address(place).value for place in range(begin, end, WORD)]
            )
        except Exception as error:
            masks.error = error

    def _masks(self, this: int) -> TokenMasks | None:
        return self._running.get((this - self._slots) // (2 * WORD))

    def _row(self, logits: int) -> NDArray[np.float32]:
        """The logits behind a pointer to an address and a size."""
        data, size = _pair(logits)
        floats = self._floats
        if floats is None or floats._length_ != size:
            floats = self._floats = ctypes.c_float * size
        return np.frombuffer(floats.from_address(data), dtype=np.float32)

    def _callback(self, kind: Any, function: Callable[..., Any]) -> int:
        made = kind(function)
        self._kept.append(made)
        return _address(made)

    def _words(self, *values: int) -> int:
        made = (ctypes.c_uint64 * len(values))(*values)
        self._kept.append(made)
        return ctypes.addressof(made)

    def _string(self, text: bytes) -> int:
        buffer = ctypes.create_string_buffer(text)
        self._kept.append(buffer)
        return self._words(ctypes.addressof(buffer), len(text), len(text), 0)

    def _call(self, library: ctypes.CDLL, name: str, *arguments: int) -> None:
        function = getattr(library, name)
        function.argtypes, function.restype = [Word] * len(arguments), None
        function(*arguments)


WORD = ctypes.sizeof(Word)

_lock = threading.Lock()
_registered: list[Backend] = []


def registered(pipeline: Any, step: Callable[[], None], config: Any) -> Backend | None:
    """The backend, for an idle pipeline (ContinuousBatchingPipeline) that works with it; None if
    the installed version of GenAI was not verified or `check` fails. `config` has what the pipeline
    requires of every request.

    `step` must not hold the interpreter lock: GenAI's threads need it for the masks, and a step
    waits for them.
    """
    if not isinstance(step, unlocked.Unlocked):
        _warn("this version of OpenVINO GenAI was not verified")
        return None
    try:
        with _lock:
            if not _registered:
                _registered.append(Backend(unlocked.library()))
        backend = _registered[0]
    except (OSError, ValueError, AttributeError) as error:
        _warn(str(error))
        return None
    if not check(pipeline, step, backend, config):
        _warn("a mask had no effect")
        return None
    return backend


class OneToken:
    """Masks that allow a single token."""

    def __init__(self, token_id: int) -> None:
        self.error: Any = None
        self.accepted: list[int] = []
        self._token_id = token_id

    def apply(self, logits: NDArray[np.float32], sequences: int = 1) -> None:
        kept = logits[self._token_id]
        logits[:] = -np.inf
        logits[self._token_id] = kept

    def accept(self, token_ids: Sequence[int]) -> None:
        self.accepted.extend(token_ids)


def check(pipeline: Any, step: Callable[[], None], backend: Backend, config: Any) -> bool:
    """Whether an idle pipeline generates the only token that a mask allows, also where it guesses
    another one: each time in this prompt the token is followed by another."""
    wanted, other, number = 7, 8, 3  # any tokens: without a mask they are as likely as any others
    masks = OneToken(wanted)
    slot, structured = backend.add(masks)
    config.max_new_tokens = number
    config.ignore_eos = True
    config.structured_output_config = structured
    try:
        ids = np.array([[wanted, other, wanted, other, wanted, other]])
        handle = pipeline.add_request(CHECK_ID, openvino.Tensor(ids), config)
        while pipeline.has_non_finished_requests():
            step()
    finally:
        backend.remove(slot)
    found: list[int] = []
    while handle.can_read():
        for output in handle.read().values():
            found.extend(output.generated_ids)
    accepted = masks.accepted[: number - 1]
    return found == [wanted] * number and accepted == [wanted] * (number - 1)


def _warn(reason: str) -> None:
    logger.warning("structured output is not supported: %s", reason)


def _address(function: Any) -> int:
    return ctypes.cast(function, Word).value or 0


def _pair(address: int) -> tuple[int, int]:
    first, second = Pair.from_address(address)
    return first, second


def _write(address: int, *values: int) -> None:
    (ctypes.c_uint64 * len(values)).from_address(address)[:] = list(values)
