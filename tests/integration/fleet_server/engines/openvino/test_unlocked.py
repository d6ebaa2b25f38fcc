"""Steps of the real pipeline without the interpreter lock, and the fallback with it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

import openvino
import openvino_genai
import pytest

from fleet_server.engines.openvino import unlocked
from fleet_server.engines.openvino.unlocked import Unlocked, is_checked, step_of

NEW_TOKENS = 16


@pytest.fixture(scope="module")
def pipeline(demo_weights: Callable[[str], Path]) -> openvino_genai.ContinuousBatchingPipeline:
    (gguf,) = demo_weights("smollm2").glob("*.gguf")
    scheduler = openvino_genai.SchedulerConfig()
    scheduler.cache_size = 1
    return openvino_genai.ContinuousBatchingPipeline(gguf, scheduler, "CPU", {})


def answer(
    pipeline: openvino_genai.ContinuousBatchingPipeline, number: int, step: Callable[[], None]
) -> list[int]:
    """The tokens after a fixed prompt, generated with `step`."""
    config = openvino_genai.GenerationConfig(max_new_tokens=NEW_TOKENS, ignore_eos=True)
    prompt = openvino.Tensor([[1, 2683, 3365, 253, 2030]])
    handle = pipeline.add_request(number, prompt, config)
    while pipeline.has_non_finished_requests():
        step()
    (output,) = handle.read_all()
    return list(output.generated_ids)


def test_the_installed_version_is_supported(
    pipeline: openvino_genai.ContinuousBatchingPipeline,
) -> None:
    assert isinstance(step_of(pipeline), Unlocked)


def test_the_same_tokens_as_with_the_lock(
    pipeline: openvino_genai.ContinuousBatchingPipeline,
) -> None:
    unlocked_ids = answer(pipeline, 0, step_of(pipeline))
    assert len(unlocked_ids) == NEW_TOKENS
    assert answer(pipeline, 1, pipeline.step) == unlocked_ids


def test_other_threads_run_during_a_step(
    pipeline: openvino_genai.ContinuousBatchingPipeline,
) -> None:
    awake, ended = 0, threading.Event()

    def wake_often() -> None:
        nonlocal awake
        while not ended.wait(0.0001):
            awake += 1

    def during(step: Callable[[], None], number: int) -> int:
        """How often the other thread ran between the start and the end of all steps."""
        total = 0

        def watched() -> None:
            nonlocal total
            before = awake
            step()
            total += awake - before

        answer(pipeline, number, watched)
        return total

    thread = threading.Thread(target=wake_often)
    thread.start()
    try:
        locked, free = during(pipeline.step, 2), during(step_of(pipeline), 3)
    finally:
        ended.set()
        thread.join()
    # With the lock held, the other thread may get it a few times at the end of a step.
    assert free > 2 * locked


def test_other_versions_keep_the_lock(
    pipeline: openvino_genai.ContinuousBatchingPipeline,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(unlocked, "CHECKED", ("1.",))
    with caplog.at_level(logging.WARNING):
        step = step_of(pipeline)
    assert not isinstance(step, Unlocked)
    assert "interpreter lock" in caplog.text
    assert len(answer(pipeline, 4, step)) == NEW_TOKENS


def test_a_library_without_the_function_keeps_the_lock(
    pipeline: openvino_genai.ContinuousBatchingPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unlocked, "STEP", "no_such_function")
    assert not isinstance(step_of(pipeline), Unlocked)
    monkeypatch.setattr(unlocked, "LIBRARIES", "no_such_library*")
    assert not isinstance(step_of(pipeline), Unlocked)


def test_an_object_of_another_size_is_rejected() -> None:
    class Other:
        __slots__ = ()

    assert not is_checked(openvino_genai.__version__, Other)
    assert is_checked(openvino_genai.__version__, openvino_genai.ContinuousBatchingPipeline)
