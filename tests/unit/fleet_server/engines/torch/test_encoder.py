"""How many passes of an encoder run at the same time, and how it is closed."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from fleet_contract.errors import NotReady
from fleet_server.engines.encoder_files.extra_inputs import no_types
from fleet_server.engines.torch.encoder import Encoder
from fleet_server.engines.torch.runtime import Runtime


class Model:
    """Gives each row the sum of its ids. Calls wait while `gate` is closed."""

    config = SimpleNamespace(pad_token_id=0, type_vocab_size=1)

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.running = threading.Semaphore(0)
        self.at_once = 0

    def forward(self) -> None:
        """The arguments of the model are read from this signature."""

    def __call__(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        self.running.release()
        assert self.gate.wait(10)
        return input_ids.sum(1, keepdim=True).float()


def encoder(model: Any, passes: int) -> Encoder:
    runtime = Runtime(torch.device("cpu"), torch.float32)
    return Encoder(model, runtime, lambda output, mask: output, no_types, passes)


@pytest.mark.parametrize("passes", [1, 3])
def test_no_more_run_than_are_allowed(passes: int) -> None:
    model = Model()
    made = encoder(model, passes)
    with ThreadPoolExecutor(passes + 1) as pool:
        answers = [pool.submit(made.run, [[number, 1]]) for number in range(passes + 1)]
        for _ in range(passes):
            assert model.running.acquire(timeout=10)
        assert not model.running.acquire(timeout=0.05)
        model.gate.set()
        found = [answer.result(10).tolist() for answer in answers]
    assert found == [[[number + 1]] for number in range(passes + 1)]


def test_closing_waits_for_the_passes_that_run() -> None:
    model = Model()
    made = encoder(model, 2)
    with ThreadPoolExecutor(3) as pool:
        running = [pool.submit(made.run, [[1]]) for _ in range(2)]
        for _ in range(2):
            assert model.running.acquire(timeout=10)
        closing = pool.submit(made.close)
        assert not closing.done()
        model.gate.set()
        closing.result(10)
        assert [each.result(10).tolist() for each in running] == [[[1]], [[1]]]
    with pytest.raises(NotReady):
        made.run([[1]])
