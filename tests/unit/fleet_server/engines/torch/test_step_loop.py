"""The step loop on a tiny random Llama: joining, leaving, failing, closing."""

from __future__ import annotations

import gc
import random
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from fleet_contract.errors import NotReady, TooLarge
from fleet_server.engines.torch.conversation import ChatInput
from fleet_server.engines.torch.forward import ForwardPass
from fleet_server.engines.torch.runtime import Runtime
from fleet_server.engines.torch.sampler import Sampler
from fleet_server.engines.torch.scheduler import StepLimits
from fleet_server.engines.torch.sequence import Sequence
from fleet_server.engines.torch.step_loop import StepLoop
from fleet_server.protocols import Finish, Sampling, Step
from support.waiting import until

RUNTIME = Runtime(torch.device("cpu"), torch.float32)
BOUNDS = StepLimits(rows=4, prefill=16, kv_tokens=10_000, images_share=False)
SHARED = torch.Generator()


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    torch.set_num_threads(1)
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=64, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=4096,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval().requires_grad_(False)


Start = Callable[..., StepLoop]


@pytest.fixture
def start(model: LlamaForCausalLM) -> Iterator[Start]:
    loops = []

    def make(forward: ForwardPass | None = None, bounds: StepLimits = BOUNDS) -> StepLoop:
        loops.append(StepLoop(forward or ForwardPass(model), RUNTIME, bounds, frozenset()))
        return loops[-1]

    yield make
    for loop in loops:
        loop.close()
        assert not loop._thread.is_alive()


class Answer:
    """Collects the steps of one sequence; `reached(n)` waits for n tokens or the end."""

    def __init__(
        self, loop: StepLoop, prompt: int = 8, max_tokens: int = 10, caller: str = ""
    ) -> None:
        self._changed = threading.Condition()
        self.ids: list[int] = []
        self.last: Step | None = None
        self.row = Sequence(
            ChatInput([1 + n % 60 for n in range(prompt)]), Sampling(max_tokens, temperature=0),
            Sampler(Sampling(max_tokens, temperature=0), SHARED), self._step, caller,
        )  # fmt: skip
        loop.submit(self.row)

    def _step(self, step: Step) -> None:
        with self._changed:
            self.ids.extend(step.token_ids)
            if step.finish is not None or step.error is not None:
                self.last = step
            self._changed.notify_all()

    def reached(self, tokens: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.last or len(self.ids) >= tokens, 60)

    def end(self) -> Step:
        self.reached(10**9)
        assert self.last is not None
        return self.last


class Failing(ForwardPass):
    """Raises `error` in the pass that `when` selects."""

    def __init__(self, model: Any, error: Exception, when: Callable[[str, int], bool]) -> None:
        super().__init__(model)
        self.error, self.when, self.armed = error, when, True

    def prefill(self, row: Sequence, number: int) -> torch.Tensor:
        if self.armed and self.when("read", number):
            self.armed = False
            raise self.error
        return super().prefill(row, number)

    def step(self, batch: Any) -> torch.Tensor:
        if self.armed and self.when("step", len(batch.rows)):
            self.armed = False
            super().step(batch)  # so that the cache has grown, as in a pass that fails half-way
            raise self.error
        return super().step(batch)


def test_a_thousand_random_cancellations_release_everything(start: Start) -> None:
    loop = start(bounds=StepLimits(rows=16, prefill=256, kv_tokens=10_000, images_share=False))
    chance = random.Random(4)
    process = psutil.Process()
    rows: list[weakref.ref[Sequence]] = []
    resident = []
    for wave in range(20):
        answers = [Answer(loop, chance.randint(1, 60), chance.randint(1, 200)) for _ in range(50)]
        rows += [weakref.ref(answer.row) for answer in answers]
        chance.shuffle(answers)
        for answer in answers:
            if chance.random() < 0.3:
                answer.reached(chance.randint(1, 3))
            answer.row.cancel()
        Answer(loop, 1, 1).end()  # it came last, so all before it are gone
        del answers, answer
        if wave >= 5:
            resident.append(process.memory_info().rss)
    assert not loop.broken
    assert loop.active <= 1  # the very last one may be about to leave
    gc.collect()
    assert [row for row in rows if row() is not None] == []
    # Growth only: a busy machine takes pages of mapped files away.
    assert max(resident) - resident[0] < 30 << 20


def test_cancel_stops_at_the_next_step_and_frees_the_place(start: Start) -> None:
    loop = start(bounds=StepLimits(1, 16, 10_000, images_share=False))
    long = Answer(loop, 8, 3000)
    long.reached(3)
    waiting = Answer(loop, 8, 3)
    long.row.cancel()
    assert waiting.end().finish is Finish.LENGTH
    seen = len(long.ids)
    Answer(loop, 1, 1).end()
    assert len(long.ids) == seen < 3000
    assert long.last is None


def test_the_use_of_the_cache_follows_the_sequences(start: Start) -> None:
    loop = start(bounds=StepLimits(4, 16, kv_tokens=4000, images_share=False))
    assert loop.cache_usage == 0
    one, other = Answer(loop, 500, 1400), Answer(loop, 8, 1400)
    for answer in (one, other):
        answer.reached(5)
    # Both rows are as long as the longer one, whose prompt has 500 tokens.
    until(lambda: loop.cache_usage >= 2 * 505 / 4000)
    other.row.cancel()
    one.row.cancel()
    until(lambda: loop.cache_usage == 0)
    assert not loop.broken


def test_the_prompt_that_is_prefilled_uses_the_cache(start: Start) -> None:
    loop = start(bounds=StepLimits(4, 16, kv_tokens=1000, images_share=False))
    answer = Answer(loop, 900, 1)
    until(lambda: 0 < loop.cache_usage < 0.9)
    assert answer.end().finish is Finish.LENGTH
    until(lambda: loop.cache_usage == 0)


def test_a_sequence_larger_than_the_cache_fills_it(start: Start) -> None:
    loop = start(bounds=StepLimits(4, 16, kv_tokens=10, images_share=False))
    answer = Answer(loop, 50, 3000)
    until(lambda: loop.cache_usage == 1)
    answer.row.cancel()
    until(lambda: loop.cache_usage == 0)


def test_a_long_prompt_does_not_stall_the_others(start: Start) -> None:
    """While 1,600 tokens are read 16 at a time, a running sequence continues."""
    loop = start()
    running = Answer(loop, 4, 2000)
    running.reached(1)
    late = Answer(loop, 1600, 2)
    before = len(running.ids)
    late.reached(1)
    assert len(running.ids) - before >= 50
    running.row.cancel()
    assert late.end().finish is Finish.LENGTH


def test_waiting_is_first_come_first_served(start: Start) -> None:
    loop = start(bounds=StepLimits(1, 16, 10_000, images_share=False))
    done: list[int] = []
    answers = [Answer(loop, 5, 2) for _ in range(6)]
    for number, answer in enumerate(answers):
        answer.end()
        done.append(number)
        assert all(later.last is None or later.ids for later in answers[number + 1 :])
    assert done == list(range(6))


class Gated(ForwardPass):
    """Waits in the first prefill until `opened`; `rows` are the prefilled ones."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.entered, self.opened = threading.Event(), threading.Event()
        self.rows: list[Sequence] = []

    def prefill(self, row: Sequence, number: int) -> torch.Tensor:
        self.rows.append(row)
        self.entered.set()
        assert self.opened.wait(60)
        return super().prefill(row, number)


def test_a_large_sequence_is_passed_by_small_ones(start: Start, model: LlamaForCausalLM) -> None:
    forward = Gated(model)
    loop = start(forward, StepLimits(4, 16, kv_tokens=4000, images_share=False))
    running = Answer(loop, 8, 100)
    assert forward.entered.wait(60)
    large, *small = [Answer(loop, 8, number) for number in (3000, 3, 3, 3)]
    forward.opened.set()
    large.reached(1)
    assert forward.rows == [each.row for each in (running, *small, large)]
    assert all(each.end().finish is Finish.LENGTH for each in (running, *small))
    large.row.cancel()


def test_callers_take_turns(start: Start, model: LlamaForCausalLM) -> None:
    forward = Gated(model)
    loop = start(forward, StepLimits(1, 16, 10_000, images_share=False))
    first = Answer(loop, 8, 2, "a")
    assert forward.entered.wait(60)
    second, third, other = [Answer(loop, 8, 2, caller) for caller in "aab"]
    forward.opened.set()
    assert third.end().finish is Finish.LENGTH
    assert forward.rows == [each.row for each in (first, second, other, third)]


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("x"), RuntimeError("can't allocate memory: you tried"), MemoryError()],
)
def test_a_prompt_that_does_not_fit_fails_alone(
    start: Start, model: LlamaForCausalLM, error: Exception
) -> None:
    loop = start(Failing(model, error, lambda kind, number: kind == "read" and number == 13))
    first = Answer(loop, 8, 30)
    first.reached(1)
    large, after = Answer(loop, 13, 30), Answer(loop, 7, 30)
    assert isinstance(large.end().error, TooLarge)
    assert first.end().finish is after.end().finish is Finish.LENGTH
    assert not loop.broken


def test_a_step_without_enough_memory_fails_the_newest_sequence_only(
    start: Start, model: LlamaForCausalLM
) -> None:
    alone = Answer(start(), 8, 30)
    alone.end()
    failing = Failing(
        model, torch.OutOfMemoryError("x"), lambda kind, rows: rows == 3 and kind == "step"
    )
    loop = start(failing)
    answers = [Answer(loop, length, 30) for length in (8, 12, 5)]
    ends = [answer.end() for answer in answers]
    assert [isinstance(end.error, TooLarge) for end in ends] == [False, False, True]
    assert answers[0].ids == alone.ids
    assert not loop.broken


def test_a_prompt_that_the_model_cannot_read_fails_alone(
    start: Start, model: LlamaForCausalLM
) -> None:
    alone = Answer(start(), 8, 100)
    alone.end()
    error = ValueError("Image features and image tokens do not match")
    loop = start(Failing(model, error, lambda kind, number: kind == "read" and number == 13))
    running = Answer(loop, 8, 100)
    running.reached(1)
    bad, after = Answer(loop, 13, 30), Answer(loop, 7, 30)
    assert bad.end().error is error
    assert running.end().finish is after.end().finish is Finish.LENGTH
    assert running.ids == alone.ids
    assert not loop.broken


class Misshapen(ForwardPass):
    """The cache of a prompt of 13 tokens has values of another size than the batch's."""

    def prefill(self, row: Sequence, number: int) -> torch.Tensor:
        logits = super().prefill(row, number)
        if number == 13:
            layer = row.cache.layers[0]
            layer.values = layer.values[..., :-1]
        return logits


@pytest.mark.parametrize("others", [1, 2])
def test_a_prompt_that_cannot_join_the_batch_fails_alone(
    start: Start, model: LlamaForCausalLM, others: int
) -> None:
    alone = Answer(start(), 8, 100)
    alone.end()
    loop = start(Misshapen(model))
    running = [Answer(loop, 8, 100) for _ in range(others)]
    for answer in running:
        answer.reached(1)
    assert isinstance(Answer(loop, 13, 30).end().error, RuntimeError)
    for answer in (*running, Answer(loop, 8, 100)):
        assert answer.end().finish is Finish.LENGTH
        assert answer.ids == alone.ids
    assert not loop.broken


def test_a_device_that_fails_with_a_prompt_ends_every_sequence(
    start: Start, model: LlamaForCausalLM
) -> None:
    class Dead(Failing):
        def probe(self) -> None:
            super().probe()
            raise RuntimeError("device-side assert")

    error = ValueError("x")
    loop = start(Dead(model, error, lambda kind, number: kind == "read" and number == 13))
    running = Answer(loop, 8, 3000)
    running.reached(1)
    bad = Answer(loop, 13, 30)
    assert running.end().error is bad.end().error is error
    assert loop.broken


def test_any_other_failure_ends_every_sequence(start: Start, model: LlamaForCausalLM) -> None:
    error = RuntimeError("device-side assert")
    forward = Failing(model, error, lambda kind, _: kind == "step")
    forward.armed = False
    loop = start(forward)
    answers = [Answer(loop, 8, 3000) for _ in range(6)]
    forward.armed = True  # now that all are submitted: a broken loop refuses more
    assert [answer.end().error for answer in answers] == [error] * 6
    assert loop.broken
    with pytest.raises(NotReady):
        Answer(loop)


def test_close_ends_every_sequence(start: Start) -> None:
    loop = start()
    answers = [Answer(loop, 8, 3000) for _ in range(6)]
    answers[0].reached(2)
    loop.close()
    assert all(isinstance(answer.end().error, NotReady) for answer in answers)
    assert not loop.broken
    with pytest.raises(NotReady):
        Answer(loop)


def test_a_failing_receiver_does_not_affect_others(start: Start) -> None:
    loop = start()

    def broken(step: Step) -> None:
        raise RuntimeError("gone")

    sampling = Sampling(50, temperature=0)
    loop.submit(Sequence(ChatInput([1, 2]), sampling, Sampler(sampling, SHARED), broken))
    assert Answer(loop).end().finish is Finish.LENGTH
    assert not loop.broken


def test_the_cache_limits_the_sequences_of_a_pass(start: Start, model: LlamaForCausalLM) -> None:
    sizes: list[int] = []

    class Watching(ForwardPass):
        def step(self, batch: Any) -> torch.Tensor:
            sizes.append(len(batch.rows))
            return super().step(batch)

    loop = start(Watching(model), StepLimits(rows=8, prefill=64, kv_tokens=40, images_share=False))
    answers = [Answer(loop, 8, 10) for _ in range(6)]  # 18 tokens each at most
    assert all(answer.end().finish is Finish.LENGTH for answer in answers)
    assert max(sizes) == 2


def test_nan_fails_one_sequence(start: Start, model: LlamaForCausalLM) -> None:
    class Poisoned(ForwardPass):
        def prefill(self, row: Sequence, number: int) -> torch.Tensor:
            logits = super().prefill(row, number)
            return logits * float("nan") if number == 13 else logits

    loop = start(Poisoned(model))
    bad, good = Answer(loop, 13), Answer(loop, 8)
    assert isinstance(bad.end().error, ArithmeticError)
    assert good.end().finish is Finish.LENGTH
