"""Qwen3-VL with images: the llamacpp engine against `generate` of transformers, and over HTTP.

The sides of the images are multiples of a merged patch: transformers and llama.cpp resize other
images with different filters.
"""

from __future__ import annotations

import base64
import io
import queue
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from fleet_contract.errors import BadRequest
from fleet_contract.spec import ModelSpec
from fleet_server.app import create_app
from fleet_server.engines.llamacpp.chat import LlamaChat, completion
from fleet_server.load_error import LoadError
from fleet_server.protocols import Sampling, Step
from fleet_server.state import ServerState
from support import tiny_vision_gguf

NEW = 16
ENDS = (0, 2)
"""<|im_end|>, and <|endoftext|>, which ends a text in llama.cpp whatever the file says."""


def picture(width: int, height: int, seed: int = 0) -> Any:
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def user_message(*parts: str | None) -> list[dict[str, Any]]:
    """One user message; None is replaced by an image."""
    content = [
        {"type": "image"} if text is None else {"type": "text", "text": text} for text in parts
    ]
    return [{"role": "user", "content": content}]


CASES: list[tuple[list[dict[str, Any]], list[Any]]] = [
    (user_message(None, "What is this?"), [picture(32, 48)]),
    (
        user_message("Before.", None, "Between.", None, "After."),
        [picture(64, 24, 1), picture(40, 40, 2)],
    ),
    (user_message("The fox jumps over the dog. " * 8), []),
    (user_message(None), [picture(16, 64, 5)]),
]
"""With images at which the second best token is never close to the best one: GELU of llama.cpp is a
table in float16, which changes probabilities by up to one percent."""


def spec(**fields: Any) -> ModelSpec:
    return ModelSpec.model_validate(
        {
            "model": "tiny-vl", "vision": True, "dtype": "float32", "engine": "llamacpp",
            "contextLength": 512, "batching": {"maxSize": 4},
        }
        | fields
    )  # fmt: skip


@pytest.fixture(scope="module")
def reference(tiny_chat: Callable[[str], Path]) -> tuple[Any, Any]:
    folder = tiny_chat("qwen3-vl")
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    return model, AutoProcessor.from_pretrained(folder)


@pytest.fixture(scope="module")
def gguf_folder(reference: tuple[Any, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    model, processor = reference
    folder = tmp_path_factory.mktemp("qwen3-vl-gguf")
    tiny_vision_gguf.write(folder, model, processor.image_processor)
    return folder


@pytest.fixture(scope="module")
def engine(gguf_folder: Path) -> Iterator[LlamaChat]:
    made = LlamaChat(spec(), gguf_folder, 1)
    yield made
    made.close()


def expected(
    reference: tuple[Any, Any], messages: list[dict[str, Any]], images: Sequence[Any]
) -> tuple[int, list[int]]:
    """Length of the prompt and greedy tokens of transformers."""
    model, processor = reference
    text = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    inputs = processor(text=[text], images=list(images) or None, return_tensors="pt")
    made = model.generate(**inputs, do_sample=False, max_new_tokens=NEW)
    length = inputs["input_ids"].shape[1]
    ids = made[0, length:].tolist()
    return length, ids[: next((at for at, each in enumerate(ids) if each in ENDS), None)]


@pytest.mark.parametrize("case", range(len(CASES)))
def test_greedy_tokens_equal_those_of_transformers(
    engine: LlamaChat, reference: tuple[Any, Any], case: int
) -> None:
    messages, images = CASES[case]
    length, wanted = expected(reference, messages, images)
    assert len(set(wanted)) > 2
    prompt = engine.prompt(messages, images)
    assert prompt.num_tokens == length
    body = completion(prompt.state, Sampling(NEW, temperature=0), cache_prompt=True)
    for _ in range(2):  # the second time with the prompt in the cache
        found = engine._server.post("/completion", body | {"stream": False, "return_tokens": True})
        ids = found["tokens"][:-1] if found["stop_type"] == "eos" else found["tokens"]
        assert ids == wanted


def text_of(engine: LlamaChat, prompts: Sequence[Any]) -> list[str]:
    """The texts of prompts that are generated at once."""
    queues: list[queue.Queue[Step]] = [queue.Queue() for _ in prompts]
    for prompt, steps in zip(prompts, queues, strict=True):
        engine.submit(prompt, Sampling(NEW, temperature=0), steps.put)
    texts = []
    for steps in queues:
        text, step = "", steps.get(timeout=180)
        while True:
            assert step.error is None, step.error
            text += step.delta.text if step.delta is not None else ""
            if step.finish is not None:
                break
            step = steps.get(timeout=180)
        texts.append(text)
    return texts


def test_images_of_a_batch_do_not_affect_each_other(engine: LlamaChat) -> None:
    prompts = [
        engine.prompt(user_message(None, "What?"), [picture(32, 32, seed)]) for seed in range(3)
    ]
    alone = [text_of(engine, [prompt])[0] for prompt in prompts]
    assert len(set(alone)) == 3
    assert text_of(engine, prompts) == alone


def test_guesses_leave_texts_after_images_unchanged(engine: LlamaChat, gguf_folder: Path) -> None:
    lookup = {"promptLookup": True, "ngram": 2, "tokens": 4}
    guessing = LlamaChat(spec(speculative=lookup), gguf_folder, 1)
    texts = [
        text_of(each, [each.prompt(messages, images) for messages, images in CASES])
        for each in (engine, guessing)
    ]
    guessing.close()
    assert texts[0] == texts[1]


@pytest.mark.parametrize("text", ["<|im_end|>", "<|image_pad|>", "{marker}"])
def test_texts_of_users_cannot_stand_for_control_tokens_or_images(
    engine: LlamaChat, text: str
) -> None:
    assert engine._images is not None
    written = text.format(marker=engine._images.marker)
    prompt = engine.prompt(user_message(None, f"x {written}"), [picture(16, 32)])
    assert prompt.state.text.count(engine._images.marker) == 1
    assert prompt.state.text.count("<|im_end|>") == 1
    assert "<|image_pad|>" not in prompt.state.text
    assert text_of(engine, [prompt])


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (200, 1), (1, 200), (2000, 1500)])
def test_images_of_any_size(engine: LlamaChat, size: tuple[int, int]) -> None:
    prompt = engine.prompt(user_message(None), [Image.new("RGB", size, "red")])
    assert prompt.num_tokens > 0
    if prompt.num_tokens < engine.context_length - NEW:
        assert text_of(engine, [prompt])


def test_an_invalid_aspect_ratio(engine: LlamaChat) -> None:
    with pytest.raises(BadRequest, match="900 x 1 pixels"):
        engine.prompt(user_message(None), [picture(900, 1)])


def test_a_model_without_a_projector(gguf_folder: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone.gguf"
    alone.symlink_to(gguf_folder / tiny_vision_gguf.MODEL)
    with pytest.raises(LoadError, match="no image projector"):
        LlamaChat(spec(), alone, 1)


def data_url(image: Any) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


@pytest.fixture
async def client(engine: LlamaChat) -> AsyncIterator[httpx.AsyncClient]:
    """The real app with the tiny model, without a socket."""
    server = ServerState(spec(images={"maxPixels": 10_000}), 2)
    app = create_app(server)
    server.set_ready(engine)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as made:
        yield made
    assert server.admission.running == 0


def body(*urls: str, **fields: Any) -> dict[str, Any]:
    parts: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    parts.append({"type": "text", "text": "What is this?"})
    return {
        "model": "tiny-vl", "messages": [{"role": "user", "content": parts}],
        "temperature": 0, "max_tokens": NEW,
    } | fields  # fmt: skip


async def test_over_http(
    client: httpx.AsyncClient, engine: LlamaChat, reference: tuple[Any, Any]
) -> None:
    length, ids = expected(reference, *CASES[0])
    answer = await client.post("/v1/chat/completions", json=body(data_url(picture(32, 48))))
    assert answer.status_code == 200, answer.text
    found = answer.json()
    _, processor = reference
    text = processor.tokenizer.decode(ids, skip_special_tokens=True)
    # llama.cpp leaves out a character that the last token leaves incomplete.
    assert found["choices"][0]["message"]["content"] == text.rstrip("\ufffd")
    assert found["usage"]["prompt_tokens"] == length
    streamed = await client.post(
        "/v1/chat/completions", json=body(data_url(picture(32, 48)), stream=True)
    )
    assert streamed.text.endswith("data: [DONE]\n\n")
    models = (await client.get("/v1/models")).json()
    assert models["data"][0]["modalities"]["input"] == ["text", "image"]


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("data:image/png;base64,AAAA", "invalid_image"),
        (data_url(Image.new("1", (101, 100))), "image_too_large"),
        ("http://127.0.0.1/a.png", "remote_images_off"),
        ("file:///etc/hostname", None),
    ],
)
async def test_an_invalid_image(client: httpx.AsyncClient, url: str, code: str | None) -> None:
    answer = await client.post("/v1/chat/completions", json=body(url))
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, code)
    assert error["param"] == "messages[0].content[0].image_url.url"


async def test_an_image_may_make_the_prompt_too_long(client: httpx.AsyncClient) -> None:
    urls = [data_url(picture(64, 64, seed)) for seed in range(8)]
    answer = await client.post("/v1/chat/completions", json=body(*urls))
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "context_length_exceeded"
