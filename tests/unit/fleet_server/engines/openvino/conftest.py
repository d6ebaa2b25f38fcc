"""A step loop on a pipeline in Python."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fleet_server.engines.openvino.step_loop import StepLoop
from support.scripted_pipeline import END, Pipeline


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
