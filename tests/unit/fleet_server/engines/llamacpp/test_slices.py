from __future__ import annotations

import threading

from fleet_server.engines.llamacpp.slices import KnownPrompts, PromptTurns, slices
from support.waiting import until


def test_a_long_prompt_is_divided_after_the_known_prefix() -> None:
    body = {"prompt": list(range(10)), "lora": [{"id": 0}], "n_predict": 5, "stream": True}
    found = list(slices(body, 3, 3))
    assert [each["prompt"] for each in found] == [list(range(6)), list(range(9))]
    assert all(each["n_predict"] == 0 and each["cache_prompt"] for each in found)
    assert all(each["lora"] == [{"id": 0}] for each in found)
    assert all("stream" not in each for each in found)


def test_a_prompt_of_one_slice_is_not_divided() -> None:
    assert list(slices({"prompt": [1, 2, 3]}, 0, 3)) == []
    assert list(slices({"prompt": [1, 2, 3, 4]}, 2, 3)) == []


def test_the_longest_known_prefix() -> None:
    known = KnownPrompts(2)
    assert known.add([1, 2, 3]) == 0
    assert known.add([1, 2, 4, 5]) == 2
    assert known.add([1, 2, 4]) == 3
    assert known.add([1, 2, 3, 9]) == 2  # the first one has left
    assert known.add([7]) == 0


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
