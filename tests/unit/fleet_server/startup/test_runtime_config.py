"""The logged configuration of a server, and the warm-up of every pass."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from fleet_contract.settings import RETIRED
from fleet_contract.spec import Engine, ModelSpec, Task
from fleet_prepare.choose import EngineChoice
from fleet_server.startup import warmup
from fleet_server.startup.runtime_config import runtime_config, without_effect

CHOICE = EngineChoice(Engine.TORCH, "fleet_server.engines.torch:TorchEmbedding", "cuda", "a test")


class Encoder:
    """Passes wait for each other, so that they only end when all run at once."""

    device, dtype = "cuda:0", "bfloat16"
    max_tokens = 512

    def __init__(self, passes: int) -> None:
        self.passes = passes
        self.sizes: list[int] = []
        self._together = threading.Barrier(passes)

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        return [[1, 2] for _ in texts]

    def embed(self, batch: Sequence[Sequence[int]]) -> Any:
        self._together.wait(10)
        self.sizes.append(len(batch))
        return np.zeros((len(batch), 2), np.float32)


def spec(**fields: Any) -> ModelSpec:
    return ModelSpec.model_validate({"model": "m", "task": "embedding"} | fields)


@pytest.mark.parametrize("passes", [1, 3])
def test_every_pass_is_warmed(passes: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    model = Encoder(passes)
    warmup.warm(spec(warmup={"steps": 2, "batchSize": 4}), model)
    assert model.sizes == [4] * passes * 2
    (record,) = (each for each in caplog.records if each.msg == "warmup_ok")
    fields = record.fields  # type: ignore[attr-defined]
    assert (fields["steps"], fields["batch_size"]) == (2, 4)


def test_a_disabled_warm_up_runs_and_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    model = Encoder(1)
    warmup.warm(spec(warmup={"enabled": False}), model)
    assert (model.sizes, caplog.records) == ([], [])


def test_an_encoders_settings() -> None:
    given = spec(limits={"maxConcurrent": 2, "maxItems": 5}, batching={"maxSize": 16})
    found = runtime_config(given, Encoder(4), CHOICE, 8)
    assert found["engine"] == "torch"
    assert (found["device"], found["dtype"], found["threads"]) == ("cuda:0", "bfloat16", 8)
    assert (found["passes_at_once"], found["requests_at_once"], found["pass_size"]) == (2, 48, 32)
    assert found["limits"]["max_items"] == 5
    assert found["batching"]["max_size"] == 16
    assert {"cache", "warmup"} <= set(found)


def test_passes_of_a_chat_model_are_not_reported() -> None:
    class Chat:
        max_concurrent = 8

    found = runtime_config(spec(task="chat"), Chat(), CHOICE, 2)
    assert (found["requests_at_once"], found["passes_at_once"], found["pass_size"]) == (
        8, None, None,
    )  # fmt: skip


@pytest.mark.parametrize("task", list(Task))
def test_a_window_has_an_effect_on_vectors_only(task: Task) -> None:
    found = without_effect(spec(task=task.value, batching={"windowMs": 5}), {})
    assert set(found) == (set() if task in (Task.EMBEDDING, Task.RERANK) else {"batching.windowMs"})


def test_variables_without_an_effect_are_named() -> None:
    environ = {"CHAT_BATCH_WINDOW_MS": "10", "MAX_CONCURRENT": "1"}
    assert without_effect(spec(task="chat"), environ) == dict(RETIRED)
