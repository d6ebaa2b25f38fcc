"""The step loop on a pipeline in Python: joining, leaving, failing, closing."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import openvino_genai
import pytest

from fleet_contract.errors import BadRequest, NotReady
from fleet_server.engines.openvino import step_loop
from fleet_server.engines.openvino.step_loop import (
    SLICE_TOKENS,
    STEP_TOKENS,
    Guide,
    Sequence,
    StepLoop,
)
from fleet_server.protocols import Finish, Step
from support.waiting import until

END = 2
ENDLESS = None
REFUSED: list[int] = []
"""Instead of the tokens that a sequence generates."""


@dataclass(frozen=True)
class Beginning:
    """The beginning of a long prompt."""

    end: int


class Handle:
    """Generates a token in each step, until `END` or for ever."""

    def __init__(self, tokens: list[int] | None) -> None:
        self.cancelled = False
        self._tokens = tokens
        self._unread: list[int] = []
        self.finish = openvino_genai.GenerationFinishReason.NONE

    @property
    def running(self) -> bool:
        return not self.cancelled and self.finish == openvino_genai.GenerationFinishReason.NONE

    def step(self) -> None:
        token = 7 if self._tokens is None else self._tokens.pop(0)
        self._unread.append(token)
        if token == END:
            self.finish = openvino_genai.GenerationFinishReason.STOP

    def cancel(self) -> None:
        self.cancelled = True

    def can_read(self) -> bool:
        return bool(self._unread)

    def read(self) -> dict[int, Any]:
        generated, self._unread = self._unread, []
        return {0: SimpleNamespace(generated_ids=generated, finish_reason=self.finish)}

    def get_status(self) -> Any:
        status = openvino_genai.GenerationStatus
        return status.RUNNING if self.running else status.FINISHED


class Pipeline:
    """The `input_ids` of a request are the tokens that it generates; `gate` lets steps through."""

    def __init__(self) -> None:
        self.handles: list[Handle] = []
        self.added: list[Any] = []
        """The configurations of the requests; of slices, where they end."""
        self.gate: threading.Semaphore | None = None
        self.in_step = threading.Event()
        self.fail = False
        self.percent = 0.0

    def add_request(self, number: int, input_ids: Any, config: Any) -> Handle:
        if input_ids is REFUSED:
            raise RuntimeError("refused")
        is_slice = isinstance(input_ids, Beginning)
        self.handles.append(Handle([END] if is_slice else input_ids))
        self.added.append(input_ids.end if is_slice else config)
        return self.handles[-1]

    def has_non_finished_requests(self) -> bool:
        return any(handle.running for handle in self.handles)

    def get_metrics(self) -> Any:
        return SimpleNamespace(cache_usage=self.percent)

    def step(self) -> None:
        self.in_step.set()
        if self.gate is not None:
            self.gate.acquire()
        if self.fail:
            raise RuntimeError("the device is gone")
        for handle in self.handles:
            if handle.running:
                handle.step()


class Config:
    structured_output_config: Any = None


class Registry:
    """A backend that keeps the masks it is given."""

    def __init__(self) -> None:
        self.running: dict[int, Any] = {}

    def add(self, masks: Any) -> tuple[int, Any]:
        self.running[len(self.running)] = masks
        return len(self.running) - 1, "refers to the masks"

    def remove(self, number: int) -> None:
        self.running.pop(number, None)


class Masks:
    error: Any = None


@pytest.fixture
def pipeline() -> Pipeline:
    return Pipeline()


@pytest.fixture
def loop(pipeline: Pipeline) -> Iterator[StepLoop]:
    made = StepLoop(pipeline, pipeline.step, frozenset({END}))
    yield made
    if pipeline.gate is not None:
        for _ in range(100):
            pipeline.gate.release()
    made.close()


class Asked:
    """A submitted sequence and its steps."""

    def __init__(
        self,
        loop: StepLoop,
        tokens: list[int] | None,
        guide: Guide | None = None,
        **prompt: Any,
    ) -> None:
        self.steps: list[Step] = []
        self.config: Any = Config()
        self.sequence = Sequence(tokens, self.config, self.steps.append, guide, **prompt)
        loop.submit(self.sequence)

    @property
    def ids(self) -> list[int]:
        return [token for step in self.steps for token in step.token_ids]

    @property
    def ended(self) -> bool:
        return bool(self.steps) and (
            self.steps[-1].finish is not None or self.steps[-1].error is not None
        )


def test_a_sequence_runs_to_its_end(loop: StepLoop) -> None:
    asked = Asked(loop, [5, 6, END])
    until(lambda: asked.ended)
    assert asked.ids == [5, 6]
    assert asked.steps[-1].finish is Finish.STOP


def test_the_use_of_the_cache_is_that_of_the_last_step(loop: StepLoop, pipeline: Pipeline) -> None:
    assert loop.cache_usage == 0
    pipeline.percent = 62.5
    asked = Asked(loop, ENDLESS)
    until(lambda: loop.cache_usage == 0.625)
    pipeline.percent = 75.0
    until(lambda: loop.cache_usage == 0.75)
    asked.sequence.cancel()
    until(lambda: loop.cache_usage == 0)


def test_callers_take_turns_with_long_prompts_and_short_ones_do_not_wait(
    loop: StepLoop, pipeline: Pipeline
) -> None:
    pipeline.gate = threading.Semaphore(0)

    def long(caller: str) -> Asked:
        return Asked(loop, ENDLESS, num_tokens=STEP_TOKENS + 1, caller=caller)

    first = long("a")
    assert pipeline.in_step.wait(10)
    gone, second, other = long("a"), long("a"), long("b")
    short = Asked(loop, ENDLESS, num_tokens=STEP_TOKENS, caller="a")
    gone.sequence.cancel()
    expected = [first, short, other, second]
    for number in range(1, len(expected)):
        assert [one.config for one in expected[: len(pipeline.added)]] == pipeline.added
        assert len(pipeline.added) <= number + 1
        pipeline.gate.release()
        until(lambda: len(pipeline.added) > number)  # noqa: B023
    assert pipeline.added == [one.config for one in expected]


class Pass:
    """Lets single steps of the pipeline through."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        pipeline.gate = threading.Semaphore(0)

    def __call__(self) -> None:
        """One step, to the beginning of the next."""
        assert self._pipeline.gate is not None
        self._pipeline.in_step.clear()
        self._pipeline.gate.release()
        assert self._pipeline.in_step.wait(10)


def sliced(loop: StepLoop, tokens: int, caller: str) -> Asked:
    return Asked(loop, ENDLESS, num_tokens=tokens, beginning=Beginning, caller=caller)


def test_short_prompts_and_other_callers_join_between_the_slices_of_a_long_one(
    loop: StepLoop, pipeline: Pipeline
) -> None:
    step = Pass(pipeline)
    long = sliced(loop, 2 * SLICE_TOKENS + 1, "a")
    assert pipeline.in_step.wait(10)
    assert pipeline.added == [SLICE_TOKENS]
    same = sliced(loop, SLICE_TOKENS, "a")
    other = sliced(loop, SLICE_TOKENS + 1, "b")
    short = Asked(loop, ENDLESS, num_tokens=9, caller="c")
    for _ in range(5):
        step()
    configs = [one.config for one in (short, other, long, same)]
    assert pipeline.added == [
        SLICE_TOKENS, configs[0], SLICE_TOKENS, 2 * SLICE_TOKENS, *configs[1:]
    ]  # fmt: skip
    assert short.steps


def test_a_long_prompt_whose_client_leaves_is_computed_no_further(
    loop: StepLoop, pipeline: Pipeline
) -> None:
    step = Pass(pipeline)
    long = sliced(loop, 9 * SLICE_TOKENS, "a")
    other = sliced(loop, SLICE_TOKENS, "a")
    assert pipeline.in_step.wait(10)
    long.sequence.cancel()
    step()
    until(lambda: len(pipeline.added) == 2)
    assert pipeline.handles[0].cancelled or not pipeline.handles[0].running
    assert pipeline.added == [SLICE_TOKENS, other.config]
    assert long.steps == []


def test_a_slice_the_pipeline_refuses_fails_its_request_alone(loop: StepLoop) -> None:
    def refused(end: int) -> list[int]:
        return REFUSED

    long = Asked(loop, ENDLESS, num_tokens=2 * SLICE_TOKENS, beginning=refused)
    fine = Asked(loop, [5, END])
    until(lambda: long.ended and fine.ended)
    assert isinstance(long.steps[-1].error, RuntimeError)
    assert fine.ids == [5]


def test_long_prompts_that_wait_fail_with_the_engine(loop: StepLoop, pipeline: Pipeline) -> None:
    pipeline.gate, pipeline.fail = threading.Semaphore(0), True
    asked = [Asked(loop, ENDLESS, num_tokens=STEP_TOKENS + 1) for _ in range(2)]
    pipeline.gate.release()
    until(lambda: all(one.ended for one in asked))
    assert [str(one.steps[-1].error) for one in asked] == ["the device is gone"] * 2


def test_a_cancelled_sequence_stops_in_the_pipeline(loop: StepLoop, pipeline: Pipeline) -> None:
    asked, other = Asked(loop, ENDLESS), Asked(loop, ENDLESS)
    until(lambda: bool(asked.steps and other.steps))
    asked.sequence.cancel()
    until(lambda: pipeline.handles[0].cancelled)
    seen = len(other.steps)
    until(lambda: len(other.steps) > seen)
    assert not asked.ended
    assert pipeline.handles[1].running
    other.sequence.cancel()
    until(lambda: not pipeline.has_non_finished_requests())
    assert loop._running == []


class CancelledWhileRead(Sequence):
    """Cancelled by another thread between two reads in the same step."""

    reads = 0

    @property  # type: ignore[override]
    def cancelled(self) -> bool:
        self.reads += 1
        return self.reads > 2  # when it joins, and in the first step

    @cancelled.setter
    def cancelled(self, value: bool) -> None:
        return


def test_a_sequence_cancelled_at_any_moment_leaves_the_pipeline(
    loop: StepLoop, pipeline: Pipeline
) -> None:
    loop.submit(CancelledWhileRead(ENDLESS, Config(), lambda _: None))
    until(lambda: bool(pipeline.handles) and pipeline.handles[0].cancelled)


def test_a_sequence_cancelled_before_it_joins_never_does(
    loop: StepLoop, pipeline: Pipeline
) -> None:
    pipeline.gate = threading.Semaphore(0)
    first = Asked(loop, [5, END])
    pipeline.in_step.wait(10)
    second = Asked(loop, [6, END])
    second.sequence.cancel()
    pipeline.gate.release()
    pipeline.gate.release()
    until(lambda: first.ended)
    until(lambda: not loop._inbox)
    assert len(pipeline.handles) == 1


def test_a_request_the_pipeline_refuses_fails_alone(loop: StepLoop) -> None:
    refused, fine = Asked(loop, REFUSED), Asked(loop, [5, END])
    until(lambda: refused.ended and fine.ended)
    assert isinstance(refused.steps[-1].error, RuntimeError)
    assert fine.ids == [5]


def test_a_failed_step_ends_everything(loop: StepLoop, pipeline: Pipeline) -> None:
    pipeline.fail = True
    asked = Asked(loop, [5, END])
    until(lambda: asked.ended)
    assert asked.steps[-1].error is not None
    until(lambda: loop.broken)
    with pytest.raises(NotReady):
        Asked(loop, [5, END])


def test_a_sequence_that_arrives_while_the_loop_ends_fails(loop: StepLoop) -> None:
    """After the check of `submit`, and after the loop took its last look at the inbox."""

    class Late(deque[Sequence]):
        def append(self, sequence: Sequence) -> None:
            loop.close()
            super().append(sequence)

    loop._inbox = Late()
    asked = Asked(loop, ENDLESS)
    assert [type(step.error) for step in asked.steps] == [NotReady]


def test_masks_are_known_while_their_sequence_runs(loop: StepLoop, pipeline: Pipeline) -> None:
    registry: Any = Registry()
    asked = Asked(loop, ENDLESS, Guide(registry, Masks()))
    until(lambda: bool(asked.steps))
    assert asked.config.structured_output_config == "refers to the masks"
    assert len(registry.running) == 1
    asked.sequence.cancel()
    until(lambda: not registry.running)


def test_a_sequence_whose_masks_fail_leaves_the_batch(loop: StepLoop, pipeline: Pipeline) -> None:
    registry: Any = Registry()
    masks: Any = Masks()
    asked, other = Asked(loop, ENDLESS, Guide(registry, masks)), Asked(loop, ENDLESS)
    until(lambda: bool(asked.steps))
    masks.error = BadRequest("too expensive")
    until(lambda: asked.ended)
    assert asked.steps[-1].error is masks.error
    until(lambda: pipeline.handles[0].cancelled)
    assert registry.running == {}
    assert pipeline.handles[1].running
    other.sequence.cancel()


def test_closing_waits_for_the_step_that_runs(
    loop: StepLoop, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[Callable[[], Any]] = []
    monkeypatch.setattr(step_loop, "NOTICE_SECONDS", 0.01)
    monkeypatch.setattr(step_loop.logger, "warning", lambda *args: waits.append(args))
    pipeline.gate = threading.Semaphore(0)
    Asked(loop, [5, END])
    pipeline.in_step.wait(10)
    closing = threading.Thread(target=loop.close)
    closing.start()
    until(lambda: len(waits) >= 3)
    assert closing.is_alive()
    pipeline.gate.release()
    closing.join(10)
    assert not closing.is_alive()
    assert not loop._thread.is_alive()
