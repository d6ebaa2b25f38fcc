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
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fleet_server.turns import Turns

KEPT = ("lora",)
"""Fields of a request that its slices have too."""


class KnownPrompts:
    """The last prompts, as many as there are slots. Thread-safe."""

    def __init__(self, slots: int) -> None:
        self._prompts: deque[NDArray[np.int32]] = deque(maxlen=slots)
        self._lock = threading.Lock()

    def add(self, token_ids: Sequence[int]) -> int:
        """Add a prompt; the length of the longest prefix that it shares with another, which the
        cache may hold."""
        added = np.asarray(token_ids, np.int32)
        with self._lock:
            shared = max((_shared(added, known) for known in self._prompts), default=0)
            self._prompts.append(added)
        return shared


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


def slices(body: Mapping[str, Any], known: int, size: int) -> Iterator[dict[str, Any]]:
    """The requests before `body`, a request with a prompt of token ids.

    The first slice has `size` tokens more than the `known` prefix, since a shorter one would
    remove the rest of it from the cache.
    """
    prompt = body["prompt"]
    same = {name: body[name] for name in KEPT if name in body}
    for end in range(known + size, len(prompt), size):
        yield {"prompt": prompt[:end], "n_predict": 0, "cache_prompt": True, **same}


def _shared(one: NDArray[np.int32], other: NDArray[np.int32]) -> int:
    length = min(len(one), len(other))
    different = np.flatnonzero(one[:length] != other[:length])
    return int(different[0]) if len(different) else length
