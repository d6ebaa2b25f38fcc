"""The OpenVINO chat engine with the real SmolLM2."""

from __future__ import annotations

import json
import queue
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fleet_contract.errors import BadRequest, NotReady
from fleet_contract.spec import Dtype, ModelSpec
from fleet_contract.spec_parts import Cache, Speculative
from fleet_server.engines.openvino import chat, chat_files
from fleet_server.engines.openvino.chat import DEFAULT_SEQUENCES, OpenVinoChat, sequences
from fleet_server.generation.formats.schema import narrowed
from fleet_server.load_error import LoadError
from fleet_server.protocols import (
    ChatModel,
    Finish,
    Generation,
    OutputFormat,
    ReasoningBudget,
    Sampling,
    Step,
    TextModel,
    TokenLogprobs,
)

SPEC = ModelSpec.model_validate({"model": "smollm2", "batching": {"maxSize": 4}})


class Running:
    """Collects the steps of a generation."""

    def __init__(self, model: OpenVinoChat, content: str, sampling: Sampling) -> None:
        self.steps: queue.Queue[Step] = queue.Queue()
        self.taken = 0
        self.logprobs: list[TokenLogprobs] = []
        self._model = model
        prompt = model.prompt([{"role": "user", "content": content}], [])
        self.generation: Generation = model.submit(prompt, sampling, self.steps.put)

    def wait(self) -> tuple[list[int], Step]:
        ids: list[int] = []
        while True:
            step = self.steps.get(timeout=180)
            self.taken += 1
            ids.extend(step.token_ids)
            self.logprobs.extend(step.logprobs)
            if step.finish is not None or step.error is not None:
                return ids, step

    def text(self) -> str:
        return self._model.decode(self.wait()[0])


@pytest.fixture(scope="module")
def folder(demo_weights: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A separate folder, so that the test includes writing the IR."""
    mine = tmp_path_factory.mktemp("smollm2")
    for gguf in demo_weights("smollm2").glob("*.gguf"):
        shutil.copy(gguf, mine)
    return mine


@pytest.fixture(scope="module")
def model(folder: Path) -> Iterator[OpenVinoChat]:
    engine = OpenVinoChat(SPEC, folder, threads=2)
    yield engine
    engine.close()


@pytest.mark.parametrize(
    ("fields", "number"),
    [
        ({}, DEFAULT_SEQUENCES),
        ({"limits": {"maxConcurrent": 1}}, DEFAULT_SEQUENCES),
        ({"batching": {"maxSize": 8}, "limits": {"maxConcurrent": 2}}, 8),
        ({"batching": {"enabled": False}, "limits": {"maxConcurrent": 4}}, 1),
        ({"batching": {"enabled": False, "maxSize": 8}}, 1),
    ],
)
def test_the_batch_is_bounded_by_its_own_settings(fields: dict[str, Any], number: int) -> None:
    assert sequences(ModelSpec.model_validate({"model": "m"} | fields)) == number


def test_a_short_prompt_passes_a_long_one(model: OpenVinoChat, folder: Path) -> None:
    """It joins between two slices, which do not change what follows the long one."""
    greedy = Sampling(8, temperature=0)
    text = " ".join(f"{number} towns" for number in range(300))
    long, short = Running(model, text, greedy), Running(model, "hi", greedy)
    short.steps.get(timeout=180)
    assert long.steps.empty()
    without = OpenVinoChat(SPEC.model_copy(update={"cache": Cache(prefix=False)}), folder, 2)
    try:
        whole, _ = Running(without, text, greedy).wait()
    finally:
        without.close()
    sliced, last = long.wait()
    assert last.error is None
    assert sliced == whole


def test_prompt_lookup_takes_fewer_steps_for_the_same_tokens(
    model: OpenVinoChat, folder: Path
) -> None:
    """In float32, since sums of other formats depend on how many tokens a step computes."""
    spec = SPEC.model_copy(update={"dtype": Dtype.FLOAT32})
    guesses = Speculative(prompt_lookup=True, tokens=4)
    words = "the ferry keeps running until the bridge opens " * 40
    count = "Count: 1 2 3 4 5 6 1 2 3 4 5 6"
    # What follows in the prompt is not allowed, and what was written before is.
    lines = {"type": "array", "items": {"enum": ["the ferry sinks now", "the bridge burns"]},
             "minItems": 5, "maxItems": 5}  # fmt: skip
    drawn = Sampling(24, temperature=1, seed=3, top_p=0.9, logprobs=2, presence_penalty=0.5)
    budget = ReasoningBudget(6, open="<think>", close="</think>", is_open=True)
    written, numbers = list[list[list[int]]](), list[list[int]]()
    scores: list[list[TokenLogprobs]] = []
    for each in (spec, spec.model_copy(update={"speculative": guesses})):
        engine = OpenVinoChat(each, folder, threads=2)
        try:
            grammar = engine.compile(OutputFormat(json.dumps(lines), "p"))
            running = [
                Running(engine, text, sampling) for text, sampling in (
                    (words, Sampling(8, temperature=0)),
                    (count, Sampling(24, temperature=0)),
                    (words, Sampling(64, temperature=0, grammar=grammar)),
                    (count, drawn),
                    (words, Sampling(24, temperature=0, reasoning=budget)),
                )
            ]  # fmt: skip
            found = [one.wait() for one in running]
            assert [last.error for _, last in found] == [None] * len(found)
            written.append([ids for ids, _ in found])
            scores.append(running[3].logprobs)
            alone = Running(engine, count, Sampling(24, temperature=0))
            again = Running(engine, words, Sampling(64, temperature=0, grammar=grammar))
            assert [alone.wait()[0], again.wait()[0]] == written[-1][1:3]
            numbers.append([alone.taken, again.taken])
            assert len(json.loads(engine.decode(written[-1][2]))) == 5
            assert "</think>" in engine.decode(written[-1][4])
            unseeded = Running(engine, "Hello", Sampling(8, temperature=1)).wait()[1]
            assert unseeded.error is None
        finally:
            engine.close()
    assert written[0] == written[1]
    assert [each.token_id for each in scores[0]] == written[0][3]
    assert [each.token_id for each in scores[1]] == written[1][3]
    for without, guessed in zip(*scores, strict=True):
        assert guessed.logprob == pytest.approx(without.logprob, abs=1e-3)
        top = [[value for _, value in each.top] for each in (guessed, without)]
        assert top[0] == pytest.approx(top[1], abs=1e-3)
    assert all(fewer < all_ for all_, fewer in zip(*numbers, strict=True)), numbers


def test_a_pipeline_opened_again_generates_the_same(
    model: OpenVinoChat, monkeypatch: pytest.MonkeyPatch
) -> None:
    greedy = Sampling(8, temperature=0)
    before = Running(model, "Name a colour.", greedy).wait()[0]
    monkeypatch.setattr(chat, "RELEASED_BYTES", 0)
    pipeline = model._loop._pipeline
    model.release()
    assert Running(model, "Name a colour.", greedy).wait()[0] == before
    assert model._loop._pipeline is not pipeline


def test_a_generation_ends_with_stop(model: OpenVinoChat) -> None:
    assert isinstance(model, ChatModel)
    running = Running(model, "What is the capital of France?", Sampling(32, temperature=0))
    ids, last = running.wait()
    assert "Paris" in model.decode(ids)
    assert last.finish is Finish.STOP
    assert "<|im_end|>" not in model.decode(ids)


def test_length(model: OpenVinoChat) -> None:
    ids, last = Running(model, "Tell me a long story.", Sampling(5, temperature=0)).wait()
    assert (len(ids), last.finish) == (5, Finish.LENGTH)


def test_the_cached_ir_generates_the_same(model: OpenVinoChat, folder: Path) -> None:
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


def test_the_context_length_of_the_model(model: OpenVinoChat) -> None:
    assert model.context_length == 8192


def test_the_size_of_the_cache_by_default(model: OpenVinoChat) -> None:
    Running(model, "Hello", Sampling(2, temperature=0)).wait()
    taken = model._loop._pipeline.get_metrics().kv_cache_size_in_bytes
    assert taken == 2 * 8192 / 32 * 437_760


def test_a_small_cache_is_shared_in_turns_and_bounds_the_context(folder: Path) -> None:
    spec = SPEC.model_copy(update={"cache": Cache(kv_gib=0.004)})
    engine = OpenVinoChat(spec, folder, threads=2)
    try:
        assert engine.context_length == 9 * 32
        long = "one two three four " * 30
        running = [Running(engine, f"{n} {long}", Sampling(100, temperature=0)) for n in range(3)]
        assert all(last.error is None for _, last in (each.wait() for each in running))
    finally:
        engine.close()


def test_the_use_of_the_cache_is_the_share_of_its_blocks(folder: Path) -> None:
    """GenAI reports percent of the blocks; a prompt of 5 to 8 blocks of 9 is running."""
    engine = OpenVinoChat(SPEC.model_copy(update={"cache": Cache(kv_gib=0.004)}), folder, threads=2)
    used: list[float] = []
    steps: queue.Queue[Step] = queue.Queue()

    def emit(step: Step) -> None:
        used.append(engine.cache_usage)
        steps.put(step)

    try:
        assert engine.cache_usage == 0
        prompt = engine.prompt([{"role": "user", "content": "one two three four " * 30}], [])
        engine.submit(prompt, Sampling(8, temperature=0), emit)
        while (step := steps.get(timeout=180)).finish is None:
            assert step.error is None
        blocks = -(-(prompt.num_tokens + 1) // 32)
        assert 5 <= blocks <= 8
        assert used[0] == pytest.approx(blocks / 9, abs=1 / 9)
    finally:
        engine.close()


def test_frequency_penalty_breaks_repetition(model: OpenVinoChat) -> None:
    def variety(**penalties: float) -> float:
        sampling = Sampling(64, temperature=0, **penalties)
        ids, _ = Running(model, "Repeat the word banana many times.", sampling).wait()
        return len(set(ids)) / len(ids)

    assert variety(frequency_penalty=2.0) > 1.5 * variety()
    assert variety(presence_penalty=2.0) > 1.5 * variety()


def test_a_repeated_prompt_uses_the_prefix_cache(model: OpenVinoChat) -> None:
    def cpu_seconds() -> float:
        started = time.process_time()
        Running(model, "some words of a long text " * 200, Sampling(1, temperature=0)).wait()
        return time.process_time() - started

    assert cpu_seconds() > 3 * cpu_seconds()


def test_seeds_are_reproducible(model: OpenVinoChat) -> None:
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
        each.steps.get(timeout=180)
        each.generation.cancel()
    after = Running(model, "What is the capital of France?", Sampling(16, temperature=0))
    assert "Paris" in after.text()
    assert model._loop._running == []


def test_json_objects_are_valid(model: OpenVinoChat) -> None:
    grammar = model.compile(OutputFormat('{"type": "object"}', "response_format"))
    sampling = Sampling(200, temperature=0, grammar=grammar)
    running = Running(model, "Describe a fox as JSON with name and colour.", sampling)
    ids, last = running.wait()
    if last.finish is Finish.STOP:
        assert isinstance(json.loads(model.decode(ids)), dict)
    assert model.decode(ids).startswith("{")


@pytest.mark.parametrize("seed", range(3))
def test_generations_follow_a_schema_at_high_temperature(model: OpenVinoChat, seed: int) -> None:
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 12},
            "legs": {"enum": [2, 4]},
            "colours": {"type": "array", "items": {"enum": ["red", "grün"]}, "maxItems": 3},
        },
        "required": ["name", "legs", "colours"],
    }
    grammar = model.compile(OutputFormat(narrowed(schema, "schema"), "schema"))
    sampling = Sampling(200, temperature=1.5, seed=seed, grammar=grammar)
    ids, last = Running(model, "Describe a fox.", sampling).wait()
    assert last.finish is Finish.STOP
    fox = json.loads(model.decode(ids))
    assert list(fox) == ["name", "legs", "colours"]
    assert len(fox["name"]) <= 12
    assert fox["legs"] in (2, 4)
    assert set(fox["colours"]) <= {"red", "grün"}


def test_a_text_is_continued(model: OpenVinoChat) -> None:
    assert isinstance(model, TextModel)
    ids = model.vocabulary.encode("The capital of France is", True)
    steps: queue.Queue[Step] = queue.Queue()
    prompt = model.prompt_of(ids)
    assert prompt.num_tokens == len(ids)
    model.submit(prompt, Sampling(max_tokens=3, temperature=0), steps.put)
    written = [steps.get(timeout=180) for _ in range(3)]
    assert model.decode([i for step in written for i in step.token_ids]).startswith(" Paris")


def test_a_prompt_ends_with_the_turn_of_the_assistant(model: OpenVinoChat) -> None:
    prompt = model.prompt([{"role": "user", "content": "hello"}], [])
    assert prompt.ending.endswith("<|im_start|>assistant\n")


def test_images_are_rejected(model: OpenVinoChat) -> None:
    with pytest.raises(BadRequest):
        model.prompt([{"role": "user", "content": "x"}], [object()])


def test_close_ends_running_generations(folder: Path) -> None:
    engine = OpenVinoChat(SPEC, folder, threads=2)
    running = Running(engine, "Tell me a story.", Sampling(2000, temperature=1))
    running.steps.get(timeout=180)
    engine.close()
    assert isinstance(running.wait()[1].error, NotReady)
    with pytest.raises(NotReady):
        engine.submit(engine.prompt([{"role": "user", "content": "x"}], []), Sampling(1), print)


def test_load_errors_have_a_reason(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="neither OpenVINO IR nor a GGUF file"):
        OpenVinoChat(SPEC, tmp_path, threads=1)
    (tmp_path / "broken.gguf").write_bytes(b"GGUF" + b"\0" * 100)
    with pytest.raises(LoadError, match=r"broken\.gguf"):
        OpenVinoChat(SPEC, tmp_path, threads=1)
    assert not list(tmp_path.glob(".openvino*"))
