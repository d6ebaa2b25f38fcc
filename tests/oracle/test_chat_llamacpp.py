"""Chat of llama.cpp with tiny random weights against transformers, in float32."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from fleet_contract.spec import ModelSpec
from fleet_server.engines.llamacpp.chat import LlamaChat, completion
from fleet_server.load_error import LoadError
from fleet_server.protocols import Finish, Sampling, Step
from support import tiny_chat, tiny_gguf

NEW = 32
CASES = {"llama3": tiny_chat.LLAMA, "qwen3": tiny_chat.QWEN3, "qwen2": tiny_chat.QWEN2}
SPEC = ModelSpec.model_validate({
    "model": "tiny", "dtype": "float32", "contextLength": 2048, "batching": {"maxSize": 4},
})  # fmt: skip
QUESTIONS = [
    "fox",
    "The quick brown fox jumps over the lazy dog near the river bank. " * 4,
    "Wie heißt der Hund? 日本語 👩‍👩‍👧\r\n\n  x = 'a  b' end",
]


@pytest.fixture(scope="module", params=CASES)
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Any, Any, LlamaChat]]:
    """transformers' model and tokenizer, and the engine with the same weights."""
    folder: Path = tmp_path_factory.mktemp(request.param)
    config = CASES[request.param]
    source = tiny_chat.write(folder / "source", config)
    reference = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32).eval()
    engine = LlamaChat(SPEC, tiny_gguf.write(folder / "tiny.gguf", config), 1)
    yield reference, AutoTokenizer.from_pretrained(source), engine
    engine.close()


def greedy(reference: Any, prompt: list[int]) -> list[int]:
    """The tokens of transformers, without the one that ends them."""
    with torch.inference_mode():
        found = reference.generate(torch.tensor([prompt]), max_new_tokens=NEW, do_sample=False)
    ids: list[int] = found[0, len(prompt) :].tolist()
    ends = reference.generation_config.eos_token_id
    return ids[:-1] if ids[-1] in (ends if isinstance(ends, list) else [ends]) else ids


def tokens(engine: LlamaChat, prompt: list[int]) -> list[int]:
    """The tokens of llama.cpp, which the engine returns as text."""
    body = completion(prompt, Sampling(NEW, temperature=0), cache_prompt=True)
    found = engine._server.post("/completion", body | {"stream": False, "return_tokens": True})
    ids: list[int] = found["tokens"]
    return ids[:-1] if found["stop_type"] == "eos" else ids


@pytest.mark.parametrize("question", QUESTIONS, ids=["word", "long", "unicode"])
def test_greedy_tokens_equal_those_of_transformers(
    pair: tuple[Any, Any, LlamaChat], question: str
) -> None:
    reference, tokenizer, engine = pair
    messages = [{"role": "user", "content": question}]
    prompt = engine.prompt(messages, [])
    expected = tokenizer.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
    assert prompt.state == expected
    wanted = greedy(reference, prompt.state)
    assert len(set(wanted)) > 4
    assert tokens(engine, prompt.state) == wanted
    assert tokens(engine, prompt.state) == wanted  # with the prompt in the cache


def test_sequences_of_a_batch_do_not_affect_each_other(pair: tuple[Any, Any, LlamaChat]) -> None:
    _, _, engine = pair
    prompts = [engine.prompt([{"role": "user", "content": text}], []) for text in QUESTIONS]
    alone = [together(engine, [prompt])[0] for prompt in prompts]
    assert len(set(alone)) == len(alone)
    assert together(engine, prompts) == alone


def together(engine: LlamaChat, prompts: list[Any]) -> list[tuple[str, int]]:
    """Text and number of tokens of each prompt, generated at once."""
    queues: list[queue.Queue[Step]] = [queue.Queue() for _ in prompts]
    for prompt, steps in zip(prompts, queues, strict=True):
        engine.submit(prompt, Sampling(NEW, temperature=0), steps.put)
    return [result(steps) for steps in queues]


def result(steps: queue.Queue[Step]) -> tuple[str, int]:
    text, number = "", 0
    while True:
        step = steps.get(timeout=180)
        assert step.error is None, step.error
        assert step.delta is not None
        text, number = text + step.delta.text, number + step.delta.num_tokens
        if step.finish is not None:
            assert number == NEW or step.finish is Finish.STOP
            return text, number


def test_guesses_leave_greedy_tokens_unchanged(tmp_path: Path) -> None:
    """Without guesses, from the prompt, from a draft model that is right and one that is wrong, and
    from both."""
    path = tiny_gguf.write(tmp_path / "tiny.gguf", CASES["qwen3"])
    other = tiny_gguf.write(tmp_path / "other.gguf", CASES["qwen3"], seed=1)
    lookup = {"promptLookup": True, "ngram": 2, "tokens": 5}
    draft = {"draft": {"source": "file:///draft.gguf"}, "tokens": 5}
    messages = [{"role": "user", "content": text} for text in (*QUESTIONS, "a b c a b c a b")]
    texts, accepted = [], []
    for guesses, drafter in (
        ({}, None), (lookup, None), (draft, path), (draft, other), (lookup | draft, path),
    ):  # fmt: skip
        spec = ModelSpec.model_validate({**SPEC.to_wire(), "speculative": guesses})
        engine = LlamaChat(spec, path, 1, draft=drafter)
        assert ("logprobs" in engine.supports) == (not guesses)
        prompts = [engine.prompt([message], []) for message in messages]
        body = completion(prompts[-1].state, Sampling(3 * NEW, temperature=0), cache_prompt=True)
        found = engine._server.post("/completion", body | {"stream": False})
        accepted.append(found["timings"].get("draft_n_accepted", 0))
        texts.append([(found["content"], 3 * NEW), *together(engine, prompts)])
        engine.close()
    assert texts[1:] == texts[:1] * 4
    without, looked_up, right, wrong, both = accepted
    assert without == 0 < min(looked_up, both)
    assert wrong < right


def test_slices_of_a_prompt_leave_greedy_tokens_unchanged(tmp_path: Path) -> None:
    path = tiny_gguf.write(tmp_path / "tiny.gguf", CASES["qwen3"])
    texts = []
    for longest in (8192, 16):
        fields = {**SPEC.to_wire(), "batching": {"maxSize": 4, "maxTokens": longest}}
        engine = LlamaChat(ModelSpec.model_validate(fields), path, 1)
        prompts = [engine.prompt([{"role": "user", "content": text}], []) for text in QUESTIONS]
        assert max(prompt.num_tokens for prompt in prompts) > 5 * 16
        texts.append([*together(engine, prompts), *together(engine, prompts)])
        engine.close()
    assert texts[0] == texts[1]


def test_a_draft_model_with_another_vocabulary(tmp_path: Path) -> None:
    path = tiny_gguf.write(tmp_path / "tiny.gguf", CASES["qwen3"])
    other = tiny_gguf.write(tmp_path / "other.gguf", CASES["llama3"])
    guesses = {"draft": {"source": "file:///other.gguf"}}
    spec = ModelSpec.model_validate({**SPEC.to_wire(), "speculative": guesses})
    with pytest.raises(LoadError, match="vocabular"):
        LlamaChat(spec, path, 1, draft=other)


@pytest.mark.parametrize("kind", ["q8_0", "q4_0"])
def test_a_quantised_cache_gives_almost_the_same_probabilities(tmp_path: Path, kind: str) -> None:
    path = tiny_gguf.write(tmp_path / "tiny.gguf", CASES["qwen3"])
    found = []
    for cache in ({}, {"type": kind}):
        fields = {**SPEC.to_wire(), "dtype": "float16", "cache": cache}
        engine = LlamaChat(ModelSpec.model_validate(fields), path, 1)
        prompt = engine.prompt([{"role": "user", "content": QUESTIONS[1]}], [])
        body = completion(prompt.state, Sampling(1, temperature=0, logprobs=20), cache_prompt=False)
        answer = engine._server.post("/completion", body | {"stream": False})
        [first] = answer["completion_probabilities"]
        found.append({each["id"]: each["logprob"] for each in first["top_logprobs"]})
        engine.close()
    exact, quantised = found
    shared = exact.keys() & quantised.keys()
    differences = [abs(exact[token] - quantised[token]) for token in shared]
    assert len(shared) > 5
    assert 0 < max(differences) < {"q8_0": 0.2, "q4_0": 2.0}[kind]
