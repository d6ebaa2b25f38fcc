"""Long prompts in the step loop: slices, and turns between callers."""

from __future__ import annotations

import threading

from fleet_server.engines.openvino.step_loop import SLICE_TOKENS, STEP_TOKENS, StepLoop
from support.scripted_pipeline import END, ENDLESS, REFUSED, Asked, Beginning, Pipeline
from support.waiting import until


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
