from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fleet_server.engines.llamacpp.slices import SLACK, IdleCaches, PromptTurns, SlicedPrompt
from support.waiting import until


def ids(*tokens: int) -> NDArray[np.int32]:
    return np.asarray(tokens, np.int32)


def test_only_the_cache_of_an_idle_slot_is_known() -> None:
    caches = IdleCaches(2)
    prompt = ids(1, 2, 3, 4)
    assert caches.take(None, prompt, 2) == 0
    assert caches.take(None, prompt, 2) == 0  # while the other one runs
    caches.give(None, prompt[:3])  # cancelled after a slice
    caches.give(None, prompt[:0])
    assert caches.take("sql", prompt, 2) == 0
    caches.give("sql", prompt[:2])
    assert caches.take(None, prompt, 2, most=0) is None
    assert caches.take(None, prompt, 2, most=1) == 3
    assert caches.take(None, prompt, 2) == 0


def test_the_longest_prefix_and_the_slot_used_least_recently() -> None:
    caches = IdleCaches(2)
    for prompt in (ids(1, 2, 3), ids(1, 2, 4, 5), ids(7)):
        caches.take(None, prompt, 2)
        caches.give(None, prompt)
    # The third has the slot of the second, whose prefix the second had.
    assert caches.take(None, ids(1, 2, 4), 2) == 3
    assert caches.take(None, ids(7, 8), 2) == 1


def test_a_short_prefix_is_in_another_slot() -> None:
    caches = IdleCaches(2)
    caches.take(None, ids(1), 20)
    caches.give(None, ids(1))
    assert caches.take(None, ids(1, *range(30)), 20) == 0


def test_a_prefix_that_llama_cpp_takes_from_another_adapter_is_not_known() -> None:
    """It takes the slot with the longest prefix, of several the first, and clears it if its adapter
    is another."""
    caches = IdleCaches(4)
    for adapter, prompt in ((None, ids(1, 2, 3)), ("sql", ids(1, 2, 4, 5))):
        caches.take(adapter, prompt, 2)
        caches.give(adapter, prompt)
    assert caches.take("sql", ids(1, 2), 2) == 0
    assert caches.take(None, ids(1, 2, 4), 2) == 0
    assert caches.take("sql", ids(1, 2, 4), 2) == 3


def sliced(caches: IdleCaches, prompt: list[int], size: int = 3, **fields: Any) -> SlicedPrompt:
    body = {"prompt": prompt, "cache_prompt": True, **fields}
    return SlicedPrompt(body, len(prompt), None, caches, PromptTurns(), size)


def test_a_long_prompt_is_divided_after_the_known_prefix() -> None:
    caches = IdleCaches(2)
    caches.take(None, ids(0, 1, 2), 3)
    caches.give(None, ids(0, 1, 2))
    prompt = sliced(caches, list(range(10)), lora=[{"id": 0}], n_predict=5)
    assert not prompt.take_cached()
    found = list(prompt.slices())
    assert [each["prompt"] for each in found] == [list(range(6)), list(range(9))]
    assert all(each["n_predict"] == 0 and each["cache_prompt"] for each in found)
    assert all(each["lora"] == [{"id": 0}] for each in found)


def test_a_prompt_of_one_slice_is_not_divided() -> None:
    for prompt in (sliced(IdleCaches(1), [1, 2, 3]), sliced(IdleCaches(1), [1])):
        assert prompt.take_cached()
        assert list(prompt.slices()) == []


def test_a_prompt_that_was_cleared_from_the_cache_is_divided() -> None:
    caches = IdleCaches(1)
    caches.take(None, ids(*range(9)), 3)
    caches.give(None, ids(*range(9)))
    prompt = sliced(caches, list(range(10)))
    assert prompt.take_cached()
    assert prompt.most_new == 3 + SLACK
    prompt.correct(2)
    assert [len(each["prompt"]) for each in prompt.slices()] == [5, 8]
    prompt.give()
    assert caches.take(None, ids(*range(10)), 3) == 8


def test_a_known_prefix_is_corrected_with_the_first_slice() -> None:
    caches = IdleCaches(1)
    caches.take(None, ids(*range(5)), 3)
    caches.give(None, ids(*range(5)))
    prompt = sliced(caches, list(range(10)))
    assert not prompt.take_cached()
    parts = prompt.slices()
    assert len(next(parts)["prompt"]) == 8
    assert prompt.most_new == 3 + SLACK
    prompt.correct(0)
    assert [len(each["prompt"]) for each in parts] == [3, 6, 9]


def test_a_correction_is_checked_a_few_times() -> None:
    caches = IdleCaches(1)
    caches.take(None, ids(*range(8)), 3)
    caches.give(None, ids(*range(8)))
    prompt = sliced(caches, list(range(20)))
    assert not prompt.take_cached()
    parts = prompt.slices()
    lengths = []
    for cached in (7, 4, 0):
        lengths.append(len(next(parts)["prompt"]))
        assert prompt.most_new == 3 + SLACK
        prompt.correct(cached)
    assert lengths == [11, 10, 7]
    assert len(next(parts)["prompt"]) == 3
    assert prompt.most_new is None


def test_only_the_first_request_of_a_prompt_is_checked() -> None:
    prompt = sliced(IdleCaches(1), list(range(10)))
    assert not prompt.take_cached()
    assert [prompt.most_new for _ in prompt.slices()] == [3 + SLACK, None, None]
    assert prompt.most_new is None


def test_the_same_prompt_twice_is_divided_twice() -> None:
    caches = IdleCaches(4)
    both = [sliced(caches, list(range(8))) for _ in range(2)]
    assert [each.take_cached() for each in both] == [False, False]
    assert [len(list(each.slices())) for each in both] == [2, 2]
    both[0].computed()
    both[0].give()
    third = sliced(caches, list(range(10)))
    assert third.take_cached()
    both[1].give()  # cancelled after its slices, of six tokens
    fourth = sliced(caches, list(range(10)))
    assert not fourth.take_cached()
    assert [len(part["prompt"]) for part in fourth.slices()] == [9]
    third.give()  # cancelled before it was computed
    assert sliced(caches, list(range(10))).take_cached()


def test_a_slice_that_failed_is_not_known() -> None:
    caches = IdleCaches(1)
    prompt = sliced(caches, list(range(8)))
    assert not prompt.take_cached()
    parts = prompt.slices()
    assert [len(next(parts)["prompt"]) for _ in range(2)] == [3, 6]
    prompt.give()
    assert caches.take(None, ids(*range(8)), 3) == 3


def test_prompts_without_token_ids_have_one_slice() -> None:
    body = {"prompt": {"prompt_string": "a"}, "cache_prompt": True}
    caches = IdleCaches(2)
    for number, is_short in ((3, True), (4, False)):
        prompt = SlicedPrompt(body, number, None, caches, PromptTurns(), 3)
        assert prompt.take_cached() == is_short
        assert list(prompt.slices()) == []
        prompt.computed()
        prompt.give()
    uncached = SlicedPrompt({"prompt": [1] * 9, "cache_prompt": False}, 9, None, caches,
                            PromptTurns(), 3)  # fmt: skip
    assert not uncached.take_cached()
    assert list(uncached.slices()) == []


class Long:
    """A long prompt of some slices, whose turns are appended to `done`."""

    def __init__(self, turns: PromptTurns, name: str, slices: int, done: list[str]) -> None:
        self.caller, self.cancelled = name[0], False
        self.entered, self.computed = threading.Event(), threading.Semaphore(0)
        self._turns, self._name, self._slices, self._done = turns, name, slices, done
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        with self._turns.joined(self):
            for _ in range(self._slices):
                with self._turns.turn(self):
                    if self.cancelled:
                        return
                    self._done.append(self._name)
                    self.entered.set()
                    assert self.computed.acquire(timeout=10)

    def joins(self) -> Long:
        """Wait until it takes part."""
        until(lambda: self in self._turns._prompts)
        return self

    def end(self) -> None:
        self._thread.join(10)
        assert not self._thread.is_alive()


def test_callers_take_turns_with_the_slices_of_long_prompts() -> None:
    turns = PromptTurns()
    done: list[str] = []
    first = Long(turns, "a1", 3, done)
    assert first.entered.wait(10)
    others = [Long(turns, name, 2, done).joins() for name in ("a2", "b1", "gone", "c1")]
    others[2].cancelled = True
    turns.wake()
    others[2].end()
    for prompt in (first, *others):
        prompt.computed.release(3)
    for prompt in (first, *others):
        prompt.end()
    assert done == ["a1", "b1", "c1", "a1", "b1", "c1", "a1", "a2", "a2"]
    assert len(turns._prompts) == 0
