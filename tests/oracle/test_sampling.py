"""Sampling of the chat engines with tiny random weights in float32, against transformers; a seed
gives the same text in any batch."""

from __future__ import annotations

import os
import queue
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from fleet_contract.spec import ModelSpec
from fleet_prepare import chat
from fleet_prepare.conversion import Conversion
from fleet_server.engines.llamacpp.chat import LlamaChat
from fleet_server.engines.openvino.chat import OpenVinoChat
from fleet_server.engines.torch.chat import TorchChat
from fleet_server.protocols import ReasoningBudget, Sampling, Step, TokenLogprobs
from support import tiny_chat, tiny_gguf

NEW = 24
PROMPT = [40, 41, 42, 43, 60, 61, 62, 40, 41]
SPEC = ModelSpec.model_validate({
    "model": "tiny", "dtype": "float32", "contextLength": 2048, "batching": {"maxSize": 12},
})  # fmt: skip
GREEDY = Sampling(NEW, temperature=0, logprobs=3)


@dataclass(frozen=True)
class Generated:
    """The tokens of a generation up to the first character of several tokens in llama.cpp, which
    gives tokens only with their probabilities, and of such characters only the last one."""

    tokens: list[int]
    logprobs: list[TokenLogprobs]
    steps: list[Step]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_chat.write(tmp_path_factory.mktemp("sampling") / "source", tiny_chat.QWEN3)


@pytest.fixture(scope="module")
def reference(source: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32).eval()


def openvino(source: Path) -> OpenVinoChat:
    target = source.parent / "openvino"
    target.mkdir()
    chat.convert(Conversion(source, target, "none", lambda done, total: None, lambda: None, {}))
    return OpenVinoChat(SPEC, target, 1)


def llamacpp(source: Path) -> LlamaChat:
    return LlamaChat(SPEC, tiny_gguf.write(source.parent / "tiny.gguf", tiny_chat.QWEN3), 1)


def on_torch(source: Path) -> TorchChat:
    return TorchChat(SPEC, source, 1)


def vllm(source: Path) -> Any:
    from fleet_server.engines.vllm.chat import VllmChat  # in an environment of its own

    fields = {"device": "cpu", "cache": SPEC.cache.model_copy(update={"kv_gib": 0.05})}
    return VllmChat(SPEC.model_copy(update=fields), source, 1)


ENGINES = [vllm] if os.environ.get("CHAT_ENGINES") == "vllm" else [openvino, llamacpp, on_torch]
"""`make test-vllm` runs these tests, too."""


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest, source: Path) -> Iterator[Any]:
    start: Callable[[Path], Any] = request.param
    made = start(source)
    yield made
    made.close()


def start(engine: Any, sampling: Sampling, prompt: Sequence[int] = PROMPT) -> queue.Queue[Step]:
    steps: queue.Queue[Step] = queue.Queue()
    engine.submit(engine.prompt_of(list(prompt)), sampling, steps.put)
    return steps


def wait(steps: queue.Queue[Step]) -> Generated:
    found: list[Step] = []
    while not found or found[-1].finish is None:
        found.append(steps.get(timeout=180))
        assert found[-1].error is None
    whole = takewhile(lambda step: step.delta is None or step.delta.num_tokens < 2, found)
    logprobs = [each for step in whole for each in step.logprobs]
    return Generated([each.token_id for each in logprobs], logprobs, found)


def generate(engine: Any, sampling: Sampling, prompt: Sequence[int] = PROMPT) -> Generated:
    return wait(start(engine, sampling, prompt))


def test_logarithmic_probabilities(engine: Any, reference: Any) -> None:
    """They are those of the model, whatever changes the choice."""
    changed = Sampling(
        NEW, temperature=1.3, seed=4, top_p=0.95, logprobs=5, presence_penalty=0.5,
        logit_bias={70: 3.0}, min_p=0.001,
    )  # fmt: skip
    for sampling in (GREEDY, changed):
        found = generate(engine, sampling)
        assert len(found.tokens) > 1
        with torch.inference_mode():
            logits = reference(torch.tensor([PROMPT + found.tokens])).logits[0]
        expected = torch.log_softmax(logits[len(PROMPT) - 1 : -1].double(), -1)
        for each, row in zip(found.logprobs, expected, strict=True):
            assert each.logprob == pytest.approx(float(row[each.token_id]), abs=2e-4)
            best = row.topk(sampling.logprobs or 0)
            assert [token for token, _ in each.top] == best.indices.tolist()
            assert [value for _, value in each.top] == pytest.approx(best.values.tolist(), abs=2e-4)


def test_pieces_are_those_of_the_vocabulary(engine: Any) -> None:
    found = generate(engine, GREEDY)
    for each in found.logprobs:
        assert each.piece is None or each.piece.endswith(engine.vocabulary.piece(each.token_id))
        assert all(isinstance(engine.vocabulary.piece(token), bytes) for token, _ in each.top)


def test_bias(engine: Any) -> None:
    plain = generate(engine, GREEDY).tokens
    other = generate(engine, Sampling(1, temperature=0, logprobs=1, logit_bias={plain[0]: -100.0}))
    assert other.tokens != plain[:1]
    assert [token for token, _ in other.logprobs[0].top] == plain[:1]
    forced = Sampling(4, temperature=1.0, logprobs=0, logit_bias={99: 100.0})
    assert generate(engine, forced).tokens == [99] * 4


def test_repetition_penalty(engine: Any, reference: Any) -> None:
    with torch.inference_mode():
        found = reference.generate(
            torch.tensor([PROMPT]), max_new_tokens=NEW, do_sample=False, repetition_penalty=1.4
        )
    sampling = Sampling(NEW, temperature=0, logprobs=0, repetition_penalty=1.4)
    tokens = generate(engine, sampling).tokens
    assert tokens == found[0, len(PROMPT) :].tolist()[: len(tokens)]
    assert tokens != generate(engine, GREEDY).tokens


@pytest.mark.parametrize("fields", [{"top_k": 1}, {"min_p": 1.0}, {"top_p": 1e-6}])
def test_the_only_token_that_may_be_drawn(engine: Any, fields: dict[str, Any]) -> None:
    sampling = Sampling(NEW, temperature=1.0, logprobs=0, **fields)
    assert generate(engine, sampling).tokens == generate(engine, GREEDY).tokens


@pytest.mark.parametrize("name", ["frequency_penalty", "presence_penalty"])
def test_penalties_are_for_generated_tokens(engine: Any, reference: Any, name: str) -> None:
    """More tokens than the prompt has, which holds the favoured token several times."""
    prompt = [99, 98] * 6 + PROMPT
    bias = {99: 9.0, 98: 8.0, 97: 7.5}
    # In llama.cpp tokens of the prompt are present too.
    present = prompt if isinstance(engine, LlamaChat) and name == "presence_penalty" else []
    expected: list[int] = []
    for _ in range(NEW):
        with torch.inference_mode():
            logits = reference(torch.tensor([prompt + expected])).logits[0, -1]
        logits = logits.clone()
        for token, value in bias.items():
            logits[token] += value
        for token in {*expected, *present}:
            number = expected.count(token) if name == "frequency_penalty" else 1
            logits[token] -= 2 * number
        expected.append(int(logits.argmax()))
    assert expected[0] in prompt
    fields: dict[str, Any] = {name: 2.0}
    sampling = Sampling(NEW, temperature=0, logprobs=0, logit_bias=bias, **fields)
    tokens = generate(engine, sampling, prompt).tokens
    assert len(tokens) > 2
    assert tokens == expected[: len(tokens)]


@pytest.mark.parametrize("top_p", [1.0, 0.9])
def test_a_seed_gives_the_same_tokens_alone_and_in_a_busy_batch(engine: Any, top_p: float) -> None:
    sampling = Sampling(48, temperature=1.0, top_p=top_p, seed=2**64 - 3, logprobs=0)
    alone = generate(engine, sampling).tokens
    others = [
        start(engine, Sampling(48, temperature=1.0), [50 + number] * (7 * number + 1))
        for number in range(5)
    ]
    same = [start(engine, sampling) for _ in range(6)]
    assert [wait(steps).tokens for steps in same] == [alone] * 6
    for steps in others:
        wait(steps)
    other = Sampling(48, temperature=1.0, top_p=top_p, seed=5, logprobs=0)
    assert generate(engine, other).tokens != alone


CLOSE = "</think>"
LETTER = 71
"""A token of one letter, which a bias makes the model write."""


def text_of(engine: Any, found: Generated) -> tuple[str, int]:
    """The text and the number of its tokens."""
    deltas = [step.delta for step in found.steps if step.delta is not None]
    if deltas:
        return "".join(each.text for each in deltas), sum(each.num_tokens for each in deltas)
    ids = [token for step in found.steps for token in step.token_ids]
    return engine.decode(ids), len(ids)


@pytest.mark.parametrize("tokens", [0, 1, 20])
@pytest.mark.parametrize(("temperature", "logprobs"), [(0.0, None), (1.0, 2)])
def test_a_bound_ends_the_reasoning(
    engine: Any, tokens: int, temperature: float, logprobs: int | None
) -> None:
    """That of a prompt which has opened it, and of a text which does."""
    assert "reasoning_budget" in engine.supports
    letter = engine.vocabulary.decode([LETTER])
    assert letter.isalpha()
    mark = len(engine.vocabulary.encode(CLOSE, False))
    begun = ReasoningBudget(tokens, "<think>", CLOSE, is_open=True)
    opened = ReasoningBudget(tokens, letter, CLOSE)
    # One letter after the mark only: in llama.cpp a further one opens the reasoning again.
    for budget, before, after in ((begun, 0, 5), (opened, 1, 1)):
        number = before + tokens + mark + after
        sampling = Sampling(
            number, temperature=temperature, logprobs=logprobs, reasoning=budget,
            logit_bias={LETTER: 100.0}, seed=3,
        )  # fmt: skip
        both = [start(engine, sampling) for _ in range(2)]
        for found in map(wait, both):
            text = letter * (before + tokens) + CLOSE + letter * after
            assert text_of(engine, found) == (text, number)


def test_a_bound_on_a_text_that_openvino_samples(engine: Any) -> None:
    """Without a seed, a bias and probabilities."""
    plain, _ = text_of(engine, generate(engine, GREEDY))
    bounded = ReasoningBudget(3, "<think>", CLOSE, is_open=True)
    found = generate(engine, Sampling(NEW, temperature=0, reasoning=bounded))
    before, close, answer = text_of(engine, found)[0].partition(CLOSE)
    assert all((before, close, answer))
    assert plain.startswith(before)
    none = ReasoningBudget(0, "<think>", CLOSE, is_open=True)
    found = generate(engine, Sampling(NEW, temperature=1.0, reasoning=none))
    assert text_of(engine, found)[0].startswith(CLOSE)


def test_reasoning_within_its_bound_is_not_changed(engine: Any) -> None:
    plain = generate(engine, GREEDY)
    for budget in (
        ReasoningBudget(NEW, "<think>", CLOSE, is_open=True),
        ReasoningBudget(1, "<no>", "</no>"),
    ):
        sampling = Sampling(NEW, temperature=0, logprobs=3, reasoning=budget)
        assert generate(engine, sampling).tokens == plain.tokens


@pytest.mark.parametrize("number", [0, 4])
def test_probabilities_of_the_prompt(engine: Any, reference: Any, number: int) -> None:
    """A prompt of several slices."""
    if "prompt_logprobs" not in engine.supports:
        assert not isinstance(engine, TorchChat)
        return
    prompt = [40 + n % 90 for n in range(150)]
    sampling = Sampling(2, temperature=0, logprobs=number, prompt_logprobs=True)
    found = [
        each for step in generate(engine, sampling, prompt).steps for each in step.prompt_logprobs
    ]
    assert [each.token_id for each in found] == prompt[1:]
    with torch.inference_mode():
        logits = reference(torch.tensor([prompt])).logits[0]
    for each, row in zip(found, torch.log_softmax(logits[:-1].double(), -1), strict=True):
        assert each.logprob == pytest.approx(float(row[each.token_id]), abs=2e-4)
        assert [token for token, _ in each.top] == row.topk(number).indices.tolist()
    assert generate(engine, sampling, prompt).tokens == generate(
        engine, Sampling(2, temperature=0, logprobs=0), prompt
    ).tokens  # fmt: skip
