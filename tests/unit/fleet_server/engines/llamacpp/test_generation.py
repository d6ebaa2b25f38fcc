from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fleet_contract.errors import NotReady
from fleet_server.engines.llamacpp.chat import MARKS, completion
from fleet_server.engines.llamacpp.generation import Running, Scheduler
from fleet_server.engines.llamacpp.images import ImagePrompt
from fleet_server.engines.llamacpp.server import EmbeddedServer
from fleet_server.engines.llamacpp.sleep import Sleep
from fleet_server.engines.llamacpp.slices import IdleCaches, PromptTurns, SlicedPrompt
from fleet_server.engines.llamacpp.steps import StepReader
from fleet_server.engines.start_queue import MOST_PASSES
from fleet_server.protocols import Sampling, Step
from support.waiting import until

VOCABULARY: Any = None
READER = StepReader(VOCABULARY, None)


def test_greedy_sampling_has_no_random_step() -> None:
    body = completion([1, 2], Sampling(5, temperature=0), cache_prompt=True)
    assert (body["samplers"], body["top_k"]) == (["penalties", "top_k", "temperature"], 1)
    assert (body["prompt"], body["n_predict"], body["temperature"]) == ([1, 2], 5, 0)
    assert {"n_probs", "logit_bias"}.isdisjoint(body)


def test_options_of_sampling() -> None:
    sampling = Sampling(
        5, top_k=3, min_p=0.1, repetition_penalty=1.5, logit_bias={7: -100.0}, logprobs=0
    )
    body = completion([1, 2], sampling, cache_prompt=True)
    assert body["samplers"] == ["penalties", "temperature", "top_k", "top_p", "min_p"]
    assert (body["top_k"], body["min_p"], body["repeat_penalty"]) == (3, 0.1, 1.5)
    assert body["repeat_last_n"] == 7
    assert (body["logit_bias"], body["n_probs"]) == ([(7, -100.0)], 1)


def test_penalties_of_the_prompt_are_compensated() -> None:
    sampling = Sampling(5, frequency_penalty=0.5, presence_penalty=-2, logit_bias={7: 1.0, 9: 3.0})
    for prompt in ([7, 8, 7], ImagePrompt("", [], 3, [7, 8, 7])):
        body = completion(prompt, sampling, cache_prompt=True, control={8})
        assert body["repeat_last_n"] == 8
        assert dict(body["logit_bias"]) == {7: 2.0, 8: -1.5, 9: 3.0}
    assert sampling.logit_bias == {7: 1.0, 9: 3.0}


def test_a_large_top_k_keeps_all_tokens() -> None:
    body = completion([1], Sampling(5, top_k=2**32 + 1), cache_prompt=True)
    assert body["top_k"] == 2**31 - 1


def test_seeds_are_reduced_to_32_bits() -> None:
    def seed(value: int | None) -> int:
        return int(completion([1], Sampling(5, seed=value), cache_prompt=False)["seed"])

    assert seed(2**64 - 1) == seed(2**64 - 1) < 2**32 - 1
    assert seed(None) != seed(None)


class Blocked:
    """A server whose connections open when `opened` is set, and then are refused."""

    def __init__(self) -> None:
        self.asked = threading.Semaphore(0)
        self.opened = threading.Event()

    def connection(self) -> Any:
        self.asked.release()
        self.opened.wait()
        raise NotReady("gone")


def submitted(scheduler: Scheduler, tokens: int, caller: str = "") -> list[Step]:
    steps: list[Step] = []
    scheduler.submit(Running({}, tokens, steps.append, READER, caller=caller))
    return steps


def test_generations_reserve_their_share_of_the_cache() -> None:
    server: Any = Blocked()
    scheduler = Scheduler(server, tokens=100, at_once=4)
    assert scheduler.cache_usage == 0
    first, second, third = [submitted(scheduler, number) for number in (50, 25, 60)]
    assert scheduler.cache_usage == 0.75
    assert [server.asked.acquire(timeout=10) for _ in range(2)] == [True] * 2
    server.opened.set()
    until(lambda: first and second and third)
    until(lambda: scheduler.cache_usage == 0)
    assert [type(step.error) for step in (*first, *second, *third)] == [NotReady] * 3
    scheduler.close()
    with pytest.raises(NotReady):
        submitted(scheduler, 1)


def test_the_callers_that_wait_take_turns() -> None:
    server: Any = Blocked()
    scheduler = Scheduler(server, tokens=100, at_once=4)
    callers = ["a", "a", "a", "b"]
    waiting = [Running({}, 100, lambda _: None, READER, caller=caller) for caller in callers]
    for running in waiting:
        scheduler.submit(running)
    assert list(scheduler._waiting) == [waiting[1], waiting[3], waiting[2]]
    server.opened.set()
    until(lambda: scheduler.cache_usage == 0 and not len(scheduler._waiting))
    scheduler.close()


def test_small_ones_pass_a_large_one_which_may_leave() -> None:
    server: Any = Blocked()
    scheduler = Scheduler(server, tokens=100, at_once=40)
    submitted(scheduler, 10)
    large = Running({}, 100, lambda _: None, READER, caller="b")
    scheduler.submit(large)
    for _ in range(MOST_PASSES + 1):
        submitted(scheduler, 5, "c")
    assert scheduler.cache_usage == pytest.approx(0.1 + 0.05 * MOST_PASSES)
    large.cancel()
    assert scheduler.cache_usage == pytest.approx(0.15 + 0.05 * MOST_PASSES)
    server.opened.set()
    until(lambda: scheduler.cache_usage == 0)
    scheduler.close()


def test_one_that_needs_more_than_the_cache_has_it_to_itself() -> None:
    server: Any = Blocked()
    scheduler = Scheduler(server, tokens=100, at_once=4)
    first, large, last = [submitted(scheduler, number) for number in (50, 106, 50)]
    assert server.asked.acquire(timeout=10)
    server.opened.set()
    until(lambda: first and large and last)
    until(lambda: scheduler.cache_usage == 0)
    scheduler.close()


class Failing:
    """A server with one connection, whose response is an error in the stream."""

    def connection(self) -> Any:
        return self

    def post(self, route: str, body: Any) -> Any:
        return io.BytesIO(b'error: {"message": "the cache is full"}\n\n')

    def close(self) -> None: ...


def test_an_error_in_the_stream_ends_the_generation() -> None:
    server: Any = Failing()
    scheduler = Scheduler(server, tokens=10, at_once=1)
    steps = submitted(scheduler, 10)
    until(lambda: scheduler.cache_usage == 0)
    scheduler.close()
    assert [type(step.error) for step in steps] == [RuntimeError]


class Ending(StepReader):
    """Reads two steps, whatever the response."""

    def read(self, response: Any, most_new: int | None = None) -> Iterator[Step]:
        yield Step((1,))
        yield Step((), finish="stop")


def test_the_last_step_comes_when_the_cache_of_its_prompt_can_be_taken() -> None:
    server: Any = Failing()
    caches = IdleCaches(2)
    body = {"prompt": [1, 2, 3], "cache_prompt": True}
    ids = np.array([1, 2, 3, 4], np.int32)
    found: list[int | None] = []

    def emit(step: Step) -> None:
        found.append(caches.take(None, ids, 4))
        caches.give(None, ids[:0])

    prompt = SlicedPrompt(body, 3, None, caches, PromptTurns(), 4)
    Running(body, 10, emit, Ending(VOCABULARY, None), prompt).run(server)
    assert found == [0, 3]


def test_a_cancelled_generation_that_waits_is_not_started() -> None:
    server: Any = Blocked()
    scheduler = Scheduler(server, tokens=10, at_once=4)
    submitted(scheduler, 10)
    steps: list[Step] = []
    waiting = Running({}, 10, steps.append, READER)
    scheduler.submit(waiting)
    last = submitted(scheduler, 10)
    waiting.cancel()
    server.opened.set()
    until(lambda: last)
    scheduler.close()
    assert steps == []


def test_the_server_is_lost_when_it_accepts_no_connections(tmp_path: Path) -> None:
    server = object.__new__(EmbeddedServer)
    server.lost, server._closed, server._folder = False, False, tmp_path
    server._path, server._sleep = str(tmp_path / "http.sock"), Sleep(-1, lambda: None)
    with pytest.raises(NotReady):
        server.get("/v1/models")
    assert server.lost
    server.lost, server._closed = False, True
    with pytest.raises(NotReady):
        server.connection()
    assert not server.lost


def test_marks_of_calls_and_reasoning_stay_in_the_text() -> None:
    kept = ["[TOOL_CALLS]", "<think>", "<|tool\u2581calls\u2581begin|>", "<|channel|>"]
    hidden = ["<|im_end|>", "[INST]", "</s>", "<|eot_id|>", "<|fim_middle|>"]
    assert [text for text in kept + hidden if MARKS.search(text)] == kept
