"""Greedy tokens of the torch engine against transformers' `generate`, in float32."""

from __future__ import annotations

import queue
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM
from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES

from fleet_contract.spec import ModelSpec
from fleet_prepare.readers import TORCH_GGUFS
from fleet_server.engines.special_text import SEAM
from fleet_server.engines.torch import TorchChat
from fleet_server.protocols import (
    NO_ARGUMENTS,
    ChatModel,
    Finish,
    Prompt,
    Sampling,
    Step,
    TextModel,
)

KINDS = ("llama", "qwen3", "gemma3")
NEW = 24
QUESTIONS = [
    "fox",
    "The quick brown fox jumps over the lazy dog near the river bank. " * 4,
    "Wie heißt der Hund?",
    "batch " * 37,
    "",
    "Les systèmes modernes regroupent les requêtes par leur longueur, 日本語 👩‍👩‍👧.",
]


def spec(**fields: Any) -> ModelSpec:
    return ModelSpec.model_validate({"model": "tiny", "dtype": "float32"} | fields)


class Answer:
    """Collects the steps of a generation."""

    def __init__(self, engine: TorchChat, prompt: Prompt, max_tokens: int = NEW) -> None:
        self._steps: queue.Queue[Step] = queue.Queue()
        self.ids: list[int] = []
        self.finish: Finish | None = None
        self.generation = engine.submit(
            prompt, Sampling(max_tokens, temperature=0), self._steps.put
        )

    def advance(self, number: int) -> None:
        """Wait for `number` more tokens, or the end."""
        target = len(self.ids) + number
        while len(self.ids) < target and self.finish is None:
            step = self._steps.get(timeout=180)
            assert step.error is None, step.error
            self.ids.extend(step.token_ids)
            self.finish = step.finish

    def wait(self) -> list[int]:
        self.advance(10**9)
        return self.ids


def prompt_of(engine: TorchChat, text: str) -> Prompt:
    return engine.prompt([{"role": "user", "content": text}], [])


def generated(model: Any, ids: Sequence[int], number: int = NEW) -> list[int]:
    """transformers' greedy tokens, without the end token."""
    tokens = torch.tensor([list(ids)])
    made = model.generate(
        tokens, attention_mask=torch.ones_like(tokens), do_sample=False, max_new_tokens=number
    )[0, len(ids) :].tolist()
    return made[:-1] if made and made[-1] == 2 else made


@pytest.fixture(scope="module", params=KINDS)
def folder(request: pytest.FixtureRequest, tiny_chat: Callable[[str], Path]) -> Path:
    return tiny_chat(request.param)


@pytest.fixture(scope="module")
def reference(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[TorchChat]:
    made = TorchChat(spec(batching={"maxSize": 4}), folder, 1)
    yield made
    made.close()


def test_one_at_a_time(engine: TorchChat, reference: Any) -> None:
    assert isinstance(engine, ChatModel)
    for text in QUESTIONS:
        prompt = prompt_of(engine, text)
        answer = Answer(engine, prompt)
        assert answer.wait() == generated(reference, prompt.state.token_ids)
        assert answer.finish is (Finish.LENGTH if len(answer.ids) == NEW else Finish.STOP)


def test_texts_without_a_template(engine: TorchChat, reference: Any) -> None:
    """Without a chat template, from a text's tokens and from random ones."""
    assert isinstance(engine, TextModel)
    assert engine.vocab_size == reference.config.vocab_size == engine.vocabulary.size
    dice = random.Random(3)
    prompts = [ids for text in QUESTIONS if (ids := engine.vocabulary.encode(text, True))]
    prompts += [dice.choices(range(engine.vocab_size), k=length) for length in (1, 2, 90)]
    answers = [Answer(engine, engine.prompt_of(ids)) for ids in prompts]
    for answer, ids in zip(answers, prompts, strict=True):
        assert answer.wait() == generated(reference, ids)


def test_parts_of_a_prompt_are_tokenised_one_by_one(engine: TorchChat) -> None:
    """Special tokens that a user writes stay text."""
    tokenizer = engine._conversation.tokenizer
    words = [word for word in tokenizer.all_special_tokens if len(word) > 1]
    messages = [{"role": "user", "content": " fox ".join(words * 3)}]
    found = engine.prompt(messages, []).token_ids
    parts = engine.render(messages, NO_ARGUMENTS).split(SEAM)
    each = [tokenizer(part, add_special_tokens=False)["input_ids"] for part in parts]
    assert found == [token for ids in each for token in ids]
    clean = prompt_of(engine, "fox").token_ids
    for token in tokenizer.all_special_ids:
        assert list(found).count(token) == list(clean).count(token)


def test_texts_are_not_truncated(folder: Path, tmp_path: Path) -> None:
    """Even if the tokenizer's file enables truncation."""
    mine = Path(shutil.copytree(folder, tmp_path / "mine"))
    cut = Tokenizer.from_file(str(mine / "tokenizer.json"))
    cut.enable_truncation(5)
    cut.enable_padding(length=9)
    cut.save(str(mine / "tokenizer.json"))
    engine = TorchChat(spec(), mine, 1)
    try:
        assert engine.vocabulary is not None
        text = "The quick brown fox jumps over the lazy dog."
        ids = engine.vocabulary.encode(text, True)
        assert engine.vocabulary.decode(ids) == text
    finally:
        engine.close()


def test_requests_that_join_and_leave(engine: TorchChat, reference: Any) -> None:
    """Prompts and responses of different lengths; each one joins while others are running."""
    prompts = [prompt_of(engine, text) for text in QUESTIONS]
    lengths = [30, 5, 17, 1, 40, 9]
    answers = []
    for prompt, length in zip(prompts, lengths, strict=True):
        answers.append(Answer(engine, prompt, length))
        answers[-1].advance(3)
    for answer, prompt, length in zip(answers, prompts, lengths, strict=True):
        assert answer.wait() == generated(reference, prompt.state.token_ids, length)


def test_all_at_once_with_some_cancelled(engine: TorchChat, reference: Any) -> None:
    prompts = [prompt_of(engine, text) for text in QUESTIONS * 2]
    answers = [Answer(engine, prompt) for prompt in prompts]
    for answer in answers[::3]:
        answer.advance(2)
        answer.generation.cancel()
    for index, (answer, prompt) in enumerate(zip(answers, prompts, strict=True)):
        if index % 3:
            assert answer.wait() == generated(reference, prompt.state.token_ids)


def test_chunked_prefill(folder: Path, reference: Any) -> None:
    engine = TorchChat(spec(batching={"maxTokens": 7}), folder, 1)
    try:
        prompts = [prompt_of(engine, text) for text in QUESTIONS]
        answers = [Answer(engine, prompt) for prompt in prompts]
        for answer, prompt in zip(answers, prompts, strict=True):
            assert answer.wait() == generated(reference, prompt.state.token_ids)
    finally:
        engine.close()


def test_the_architectures_of_ggufs_are_those_of_transformers() -> None:
    files = {"qwen2moe": "qwen2_moe", "qwen3moe": "qwen3_moe", "gpt-oss": "gpt_oss",
             "minimax-m2": "minimax_m2"}  # fmt: skip
    # Mistral's files have `llama`; T5 has no decoder alone.
    others = {"general", "tokenizer", "mistral", "t5", "umt5"}
    known = {files.get(name, name) for name in TORCH_GGUFS}
    assert known == set(GGUF_SUPPORTED_ARCHITECTURES) - others
