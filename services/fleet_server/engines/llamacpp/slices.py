"""Divides long prompts, so that other prompts wait for a slice instead of the whole.

llama.cpp fills each pass with the prompts of its slots in the order of the slots, so that a long
one keeps the others out until it is computed. A slice is a request for no tokens: its part of the
prompt stays in the cache of a slot, which is taken for the next slice because it has the longest
common prefix. Between two slices the prompts of other slots are computed: short ones, and the next
slice of the caller whose turn it is. Two long prompts that were computed at the same time would
fill each pass in turns, and keep all prompts in later slots out.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fleet_server.turns import Turns

SIMILARITY = 0.1
"""Share of a prompt from which on llama.cpp takes the slot whose cache has it, instead of the one
that was used least recently (`slot_prompt_similarity`)."""
SLACK = 64
"""Tokens that may be missing at the end of a known prefix: with a sliding window or a recurrent
state, llama.cpp continues from a copy that it made a few tokens before the end of a prompt."""
CORRECTIONS = 3
"""Of one prompt: one whose cache is cleared again and again is computed at last."""
KEPT = ("lora",)
"""Fields of a request that its slices have too."""


class IdleCaches:
    """The prompts whose keys and values should be in the cache of a slot without a generation:
    those of generations that have ended. Thread-safe.

    Some may be gone: llama.cpp clears idle slots while the cache is full, and takes any of those
    with the same prefix. So llama.cpp's own number is compared (SlicedPrompt.most_new).
    """

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._running = 0
        self._idle: list[tuple[str | None, NDArray[np.int32]]] = []
        """Adapter and prompt, the least recent one first."""
        self._lock = threading.Lock()

    def take(
        self, adapter: str | None, prompt: NDArray[np.int32], size: int, *, most: int | None = None
    ) -> int | None:
        """Let a generation have the slot with the longest prefix of its prompt; the length of this
        prefix. The rest is computed in slices of `size` tokens.

        None if more than `most` tokens were left to compute; the slot is not taken then.
        """
        with self._lock:
            shared = [(_shared(prompt, known), other == adapter) for other, known in self._idle]
            lengths = [length if is_own else 0 for length, is_own in shared]
            found = max(lengths, default=0)
            # llama.cpp chooses the slot without regard to its adapter, and clears that of another.
            if any(length >= found for length, is_own in shared if not is_own):
                found = 0
            if found <= SIMILARITY * min(len(prompt), found + size):
                found = 0
            if most is not None and len(prompt) - found > most:
                return None
            self._running += 1
            if found:
                del self._idle[lengths.index(found)]
            self._drop()
            return found

    def give(self, adapter: str | None, computed: NDArray[np.int32]) -> None:
        """The generation has ended; its slot has the keys and values of these tokens at least."""
        with self._lock:
            self._running -= 1
            if len(computed):
                self._idle.append((adapter, computed))
            self._drop()

    def _drop(self) -> None:
        del self._idle[: max(0, len(self._idle) + self._running - self._slots)]


class SlicedPrompt:
    """The prompt of `body`, a request for text with `adapter`.

    It is computed in slices of `size` tokens, in `turns` with others if there are several. Without
    token ids, or without `cache_prompt`, the `num_tokens` are one slice.
    """

    def __init__(
        self,
        body: Mapping[str, Any],
        num_tokens: int,
        adapter: str | None,
        caches: IdleCaches,
        turns: PromptTurns,
        size: int,
    ) -> None:
        self.turns = turns
        self._num_tokens = num_tokens
        self._adapter = adapter
        self._caches = caches
        self._size = size
        self._has_slices = body["cache_prompt"] and isinstance(body["prompt"], list)
        self._body = body if self._has_slices else {}
        self._ids = np.asarray(self._body.get("prompt", ()), np.int32)
        self._known: int | None = None
        self._computed = 0
        self._corrections = CORRECTIONS
        self._is_checked: bool = self._has_slices

    def take_cached(self) -> bool:
        """Take a slot if its cache leaves `size` tokens of the prompt at most; whether it does."""
        if self._has_slices or self._num_tokens <= self._size:
            self._take(self._size)
        return self._known is not None

    def slices(self) -> Iterator[dict[str, Any]]:
        """The requests before `body`. A slice is computed once the next one is requested, unless
        the known prefix has been corrected.

        The first slice has `size` tokens more than the known prefix, since a shorter one would
        remove the rest of it from the cache.
        """
        known = self._take()
        while self._has_slices and (end := known + self._size) < len(self._ids):
            yield self._slice(end)
            if self._computed == known:
                self._computed, self._is_checked = end, False
            known = self._computed

    @property
    def most_new(self) -> int | None:
        """The most tokens that the next request may compute, or None for any number."""
        return self._size + SLACK if self._is_checked else None

    def correct(self, known: int) -> None:
        """The cache holds only `known` tokens of the prompt. The next request is compared again:
        its slot is another one while that of the last request still computes a pass."""
        self._corrections -= 1
        self._computed, self._is_checked = known, self._corrections > 0

    def computed(self) -> None:
        """The whole prompt has been computed."""
        self._computed = len(self._ids)
        self._body = {}

    def give(self) -> None:
        """The generation has ended."""
        if self._known is not None:
            self._caches.give(self._adapter, self._ids[: self._computed])
            self._known = None

    def _slice(self, end: int) -> dict[str, Any]:
        same = {name: self._body[name] for name in KEPT if name in self._body}
        return same | {
            "prompt": self._body["prompt"][:end], "n_predict": 0, "cache_prompt": True,
            "stream": True, "return_progress": True,
        }  # fmt: skip

    def _take(self, most: int | None = None) -> int:
        if self._known is None:
            self._known = self._caches.take(self._adapter, self._ids, self._size, most=most)
            self._computed = self._known or 0
        return self._computed


class LongPrompt(Protocol):
    """A generation with a long prompt."""

    @property
    def caller(self) -> str: ...

    @property
    def cancelled(self) -> bool: ...


class PromptTurns:
    """Lets one slice of one long prompt be computed at a time. Thread-safe.

    Callers take turns after each slice; of the prompts of one caller, the first is computed first.
    """

    def __init__(self) -> None:
        self._prompts: Turns[LongPrompt] = Turns()
        self._changed = threading.Condition()
        self._is_computing = False
        self._served: str | None = None
        """The caller of the last slice."""

    @contextmanager
    def joined(self, prompt: LongPrompt) -> Iterator[None]:
        """Take part until the prompt is computed."""
        with self._changed:
            self._prompts.append(prompt)
        try:
            yield
        finally:
            with self._changed:
                self._prompts.remove(prompt)
                self._changed.notify_all()

    @contextmanager
    def turn(self, prompt: LongPrompt) -> Iterator[None]:
        """The turn of a joined prompt; of one that is cancelled at once."""
        with self._changed:
            self._changed.wait_for(lambda: prompt.cancelled or self._is_next(prompt))
            if is_mine := not prompt.cancelled:
                self._is_computing, self._served = True, prompt.caller
        try:
            yield
        finally:
            if is_mine:
                with self._changed:
                    self._is_computing = False
                    self._changed.notify_all()

    def wake(self) -> None:
        """Let prompts that wait see that they are cancelled."""
        with self._changed:
            self._changed.notify_all()

    def _is_next(self, prompt: LongPrompt) -> bool:
        if self._is_computing:
            return False
        # When the last slice has ended, so that callers who came meanwhile are before this one.
        if self._served is not None:
            self._prompts.served(self._served)
            self._served = None
        return next(iter(self._prompts)) is prompt


def _shared(one: NDArray[np.int32], other: NDArray[np.int32]) -> int:
    length = min(len(one), len(other))
    different = np.flatnonzero(one[:length] != other[:length])
    return int(different[0]) if len(different) else length
