"""Qwen3-VL with images: vLLM against transformers, in float32 on the CPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from fleet_contract.errors import BadRequest
from fleet_contract.spec import ModelSpec
from fleet_server.engines.vllm.chat import VllmChat
from fleet_server.load_error import LoadError
from fleet_server.protocols import Prompt, ReasoningBudget, Sampling
from support import tiny_chat
from support.running import Running
from support.tiny_checkpoints import like_qwen3_vl, write_chat

NEW = 12
IMAGE_TOKEN = 5


def picture(width: int, height: int, seed: int = 0) -> Any:
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def user(*parts: str | None) -> list[dict[str, Any]]:
    """One message; None is replaced by an image."""
    content = [
        {"type": "image"} if text is None else {"type": "text", "text": text} for text in parts
    ]
    return [{"role": "user", "content": content}]


CASES: list[tuple[list[dict[str, Any]], list[Any]]] = [
    (user(None, "What is this?"), [picture(32, 48)]),
    (
        user("Before.", None, "Between.", None, "After."),
        [picture(64, 24, 1), picture(40, 40, 2)],
    ),
    (user("The fox jumps over the dog. " * 8), []),
    (user(None), [picture(16, 64, 3)]),
]


def spec(**fields: Any) -> ModelSpec:
    return ModelSpec.model_validate({
        "model": "tiny-vl", "vision": True, "dtype": "float32", "device": "cpu", "engine": "vllm",
        "contextLength": 512, "batching": {"maxSize": 4}, "cache": {"kvGib": 0.01}, **fields,
    })  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("qwen3-vl")
    # vLLM's attention on a CPU has no heads of 16.
    write_chat(made, "qwen3-vl", lambda: like_qwen3_vl(64, (8, 4, 4), head_dim=32))
    template = made / "chat_template.jinja"
    shown = "{% if part['type'] == 'image' %}"
    text = template.read_text()
    assert shown in text
    # As Qwen's own template, it shows no images of the assistant.
    hidden = "{% if part['type'] == 'image' and message['role'] == 'assistant' %}"
    template.write_text(text.replace(shown, hidden + shown.replace("if", "elif")))
    return made


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[VllmChat]:
    made = VllmChat(spec(), folder, 1)
    yield made
    made.close()


@pytest.fixture(scope="module")
def expected(folder: Path) -> list[tuple[int, list[int]]]:
    """Prompt tokens and greedy response of each case, from transformers."""
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    processor = AutoProcessor.from_pretrained(folder)
    return [reference(model, processor, messages, images) for messages, images in CASES]


def reference(
    model: Any, processor: Any, messages: list[dict[str, Any]], images: Sequence[Any]
) -> tuple[int, list[int]]:
    text = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    inputs = processor(text=[text], images=list(images) or None, return_tensors="pt")
    made = model.generate(**inputs, do_sample=False, max_new_tokens=NEW)
    length = inputs["input_ids"].shape[1]
    ids = made[0, length:].tolist()
    return length, ids[:-1] if ids[-1] == 2 else ids


def run(engine: VllmChat, prompt: Prompt) -> Running:
    return Running(engine, prompt, Sampling(NEW, temperature=0))


def test_one_at_a_time(engine: VllmChat, expected: list[tuple[int, list[int]]]) -> None:
    for (messages, images), (length, ids) in zip(CASES, expected, strict=True):
        prompt = engine.prompt(messages, images)
        assert prompt.num_tokens == length
        assert run(engine, prompt).wait()[0] == ids


def test_all_at_once(engine: VllmChat, expected: list[tuple[int, list[int]]]) -> None:
    running = [run(engine, engine.prompt(*case)) for case in CASES]
    assert [each.wait()[0] for each in running] == [ids for _, ids in expected]


def test_images_differ(engine: VllmChat) -> None:
    """The prefix cache has the tokens of the first one."""
    prompts = [engine.prompt(user(None, "?"), [picture(32, 32, seed)]) for seed in (1, 2, 1)]
    first, second, same = (run(engine, prompt).wait()[0] for prompt in prompts)
    assert first == same != second


def test_a_bound_on_the_reasoning_about_images(
    engine: VllmChat, expected: list[tuple[int, list[int]]]
) -> None:
    close = engine.vocabulary.encode("</think>", add_special=False)
    most = 2 + len(close) + 3
    budget = ReasoningBudget(2, "<think>", "</think>", is_open=True)
    bounded = Sampling(most, temperature=0, reasoning=budget)
    running = [Running(engine, engine.prompt(*case), bounded) for case in CASES]
    for each, (_, ids) in zip(running, expected, strict=True):
        found = each.wait()[0]
        if len(ids) < 2:  # ends before the bound
            assert found == ids
        else:
            assert found[: 2 + len(close)] == [*ids[:2], *close]
            assert len(found) <= most


def test_the_token_of_an_image_is_refused(engine: VllmChat) -> None:
    with pytest.raises(BadRequest, match="image_pad") as caught:
        engine.prompt_of([40, IMAGE_TOKEN])
    assert caught.value.param == "prompt"
    attack = engine.prompt(user("a <|image_pad|> b"), [])
    assert attack.token_ids is not None
    assert IMAGE_TOKEN not in attack.token_ids
    assert len(run(engine, attack).wait()[0]) > 0


def test_an_image_that_the_processor_refuses_is_a_bad_request(engine: VllmChat) -> None:
    with pytest.raises(BadRequest, match="image") as caught:
        engine.prompt(user(None), [picture(4000, 1)])
    assert caught.value.param == "messages"
    assert len(run(engine, engine.prompt(*CASES[0])).wait()[0]) > 0


def test_an_image_that_the_template_does_not_show_is_a_bad_request(engine: VllmChat) -> None:
    answer = {"role": "assistant", "content": [{"type": "image"}, {"type": "text", "text": "So."}]}
    messages = [*user(None, "What is this?"), answer, *user("Why?")]
    with pytest.raises(BadRequest, match="does not show the images") as caught:
        engine.prompt(messages, [picture(32, 48), picture(48, 32)])
    assert caught.value.param == "messages"
    assert engine.prompt([messages[0], messages[2]], [picture(32, 48)]).num_tokens > 0


def test_a_model_of_texts_has_no_vision(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="text model"):
        VllmChat(spec(), tiny_chat.write(tmp_path, tiny_chat.QWEN3), 1)
