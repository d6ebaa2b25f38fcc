"""The OpenVINO chat engine on the real SmolLM2."""

from __future__ import annotations

import json
import queue
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fleet_contract.errors import BadRequest, NotReady
from fleet_contract.spec import ModelSpec
from fleet_server.engines.openvino import chat_files
from fleet_server.engines.openvino.chat import OpenVinoChat
from fleet_server.load_error import LoadError
from fleet_server.protocols import ChatModel, Finish, Generation, Sampling, Step

SPEC = ModelSpec.model_validate(
    {"model": "smollm2", "contextLength": 8192, "limits": {"maxConcurrent": 4}}
)


class Running:
    """Collects the steps of one answer."""

    def __init__(self, model: OpenVinoChat, content: str, sampling: Sampling) -> None:
        self.steps: queue.Queue[Step] = queue.Queue()
        self._model = model
        prompt = model.prompt([{"role": "user", "content": content}], [])
        self.generation: Generation = model.submit(prompt, sampling, self.steps.put)

    def wait(self) -> tuple[list[int], Step]:
        ids: list[int] = []
        while True:
            step = self.steps.get(timeout=60)
            ids.extend(step.token_ids)
            if step.finish is not None or step.error is not None:
                return ids, step

    def text(self) -> str:
        return self._model.decode(self.wait()[0])


@pytest.fixture(scope="module")
def folder(demo_weights: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of our own, so that writing the IR is part of the test."""
    mine = tmp_path_factory.mktemp("smollm2")
    for gguf in demo_weights("smollm2").glob("*.gguf"):
        shutil.copy(gguf, mine)
    return mine


@pytest.fixture(scope="module")
def model(folder: Path) -> Iterator[OpenVinoChat]:
    engine = OpenVinoChat(SPEC, folder, threads=2)
    yield engine
    engine.close()


def test_answers_and_stops(model: OpenVinoChat) -> None:
    assert isinstance(model, ChatModel)
    running = Running(model, "What is the capital of France?", Sampling(32, temperature=0))
    ids, last = running.wait()
    assert "Paris" in model.decode(ids)
    assert last.finish is Finish.STOP
    assert "<|im_end|>" not in model.decode(ids)


def test_length(model: OpenVinoChat) -> None:
    ids, last = Running(model, "Tell me a long story.", Sampling(5, temperature=0)).wait()
    assert (len(ids), last.finish) == (5, Finish.LENGTH)


def test_the_ir_is_kept_and_answers_the_same(model: OpenVinoChat, folder: Path) -> None:
    assert chat_files.is_ir(folder / chat_files.IR_FOLDER)
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []
    again = OpenVinoChat(SPEC, folder, threads=2)
    try:
        sampling = Sampling(12, temperature=0)
        question = "Name three colours."
        first, second = Running(model, question, sampling), Running(again, question, sampling)
        assert first.wait()[0] == second.wait()[0]
    finally:
        again.close()


def test_a_seed_repeats_and_another_differs(model: OpenVinoChat) -> None:
    def answer(seed: int) -> list[int]:
        return Running(model, "Tell me a story.", Sampling(24, temperature=1.0, seed=seed)).wait()[
            0
        ]

    assert answer(3) == answer(3)
    assert answer(3) != answer(4)


def test_many_share_the_batch(model: OpenVinoChat) -> None:
    running = [
        Running(model, f"What is {n} plus one?", Sampling(16, temperature=0)) for n in range(12)
    ]
    assert all(last.finish is not None for _, last in (each.wait() for each in running))


def test_cancel_frees_the_batch(model: OpenVinoChat) -> None:
    long = [Running(model, f"Story {n}", Sampling(2000, temperature=1)) for n in range(4)]
    for each in long:
        each.steps.get(timeout=60)
        each.generation.cancel()
    after = Running(model, "What is the capital of France?", Sampling(16, temperature=0))
    assert "Paris" in after.text()
    assert model._loop._running == []


def test_a_json_object_is_one(model: OpenVinoChat) -> None:
    sampling = Sampling(200, temperature=0, json_object=True)
    running = Running(model, "Describe a fox as JSON with name and colour.", sampling)
    ids, last = running.wait()
    if last.finish is Finish.STOP:
        assert isinstance(json.loads(model.decode(ids)), dict)
    assert model.decode(ids).startswith("{")


def test_every_token_decodes_as_openvino_does(model: OpenVinoChat) -> None:
    text = "Hello wörld €  日本語 👩‍👩‍👧 code:\n\tfor x in y:\r\n  pass <b>"
    ids = model._tokenizer.encode(text, add_special_tokens=False).input_ids.data[0].tolist()
    assert model.decode(ids) == text == model._tokenizer.decode(ids)
    assert model.decode([2, *ids, 0, 1]) == text


def test_images_are_refused(model: OpenVinoChat) -> None:
    with pytest.raises(BadRequest):
        model.prompt([{"role": "user", "content": "x"}], [object()])


def test_closing_ends_running_answers(folder: Path) -> None:
    engine = OpenVinoChat(SPEC, folder, threads=2)
    running = Running(engine, "Tell me a story.", Sampling(2000, temperature=1))
    running.steps.get(timeout=60)
    engine.close()
    assert isinstance(running.wait()[1].error, NotReady)
    with pytest.raises(NotReady):
        engine.submit(engine.prompt([{"role": "user", "content": "x"}], []), Sampling(1), print)


def test_what_cannot_be_loaded_says_why(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="TORCH=1"):
        OpenVinoChat(SPEC, tmp_path, threads=1)
    (tmp_path / "broken.gguf").write_bytes(b"GGUF" + b"\0" * 100)
    with pytest.raises(LoadError, match=r"broken\.gguf"):
        OpenVinoChat(SPEC, tmp_path, threads=1)
    assert not list(tmp_path.glob(".openvino*"))
