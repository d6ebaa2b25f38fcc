"""The step loop on a pipeline in Python: joining, leaving, failing, closing."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

from fleet_contract.errors import BadRequest, NotReady
from fleet_server.engines.openvino import step_loop
from fleet_server.engines.openvino.step_loop import Guide, Sequence, StepLoop
from fleet_server.protocols import Finish
from support.scripted_pipeline import END, ENDLESS, REFUSED, Asked, Config, Pipeline
from support.waiting import until


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


def test_a_pipeline_is_replaced_when_nothing_runs(loop: StepLoop, pipeline: Pipeline) -> None:
    other = Pipeline()
    opening, opened = threading.Event(), threading.Event()

    def reopened() -> tuple[Any, Callable[[], None]]:
        assert loop._pipeline is None
        opening.set()
        assert opened.wait(10)
        return other, other.step

    running = Asked(loop, ENDLESS, num_tokens=3)
    until(lambda: bool(running.steps))
    loop.replace(reopened)
    seen = len(running.steps)
    until(lambda: len(running.steps) > seen)
    assert not opening.is_set()
    running.sequence.cancel()
    assert opening.wait(10)
    late = Asked(loop, [5, END], num_tokens=4)
    opened.set()
    until(lambda: late.ended)
    assert (late.ids, len(pipeline.handles), len(other.handles)) == ([5], 1, 1)
    until(lambda: loop.computed_tokens == 5)


def test_a_pipeline_that_does_not_open_again_breaks_the_loop(loop: StepLoop) -> None:
    def failing() -> tuple[Any, Callable[[], None]]:
        raise RuntimeError("no memory")

    loop.replace(failing)
    until(lambda: loop.broken)
    with pytest.raises(NotReady):
        Asked(loop, [5, END])
