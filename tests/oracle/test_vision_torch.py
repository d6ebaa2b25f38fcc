"""Qwen3-VL with images: the torch engine against `generate`, and requests over HTTP."""

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
from fleet_server.engines.torch import TorchChat
from fleet_server.load_error import LoadError
from fleet_server.protocols import Prompt, Sampling, Step
from fleet_server.state import ServerState

NEW = 16
IMAGE_TOKEN = 5


def picture(width: int, height: int, seed: int = 0) -> Any:
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def data_url(image: Any, kind: str = "PNG") -> str:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return f"data:image/{kind.lower()};base64," + base64.b64encode(buffer.getvalue()).decode()


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
    (user_message(None), [picture(16, 64, 3)]),
    (user_message("Short."), []),
]


def spec(**fields: Any) -> ModelSpec:
    return ModelSpec.model_validate(
        {"model": "tiny-vl", "vision": True, "dtype": "float32", "device": "cpu"} | fields
    )


def start(engine: TorchChat, prompt: Prompt) -> queue.Queue[Step]:
    steps: queue.Queue[Step] = queue.Queue()
    engine.submit(prompt, Sampling(NEW, temperature=0), steps.put)
    return steps


def wait(steps: queue.Queue[Step]) -> list[int]:
    ids: list[int] = []
    while True:
        step = steps.get(timeout=180)
        assert step.error is None, step.error
        ids.extend(step.token_ids)
        if step.finish is not None:
            return ids


@pytest.fixture(scope="module")
def folder(tiny_chat: Callable[[str], Path]) -> Path:
    return tiny_chat("qwen3-vl")


@pytest.fixture(scope="module", params=[False, True], ids=["alone", "shared"])
def engine(folder: Path, request: pytest.FixtureRequest) -> Iterator[TorchChat]:
    made = TorchChat(spec(batching={"allowVision": request.param}), folder, 1)
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


def test_one_at_a_time(engine: TorchChat, expected: list[tuple[int, list[int]]]) -> None:
    for (messages, images), (length, ids) in zip(CASES, expected, strict=True):
        prompt = engine.prompt(messages, images)
        assert prompt.num_tokens == length
        assert wait(start(engine, prompt)) == ids


def test_all_at_once(engine: TorchChat, expected: list[tuple[int, list[int]]]) -> None:
    running = [start(engine, engine.prompt(*case)) for case in CASES * 2]
    assert [wait(steps) for steps in running] == [ids for _, ids in expected * 2]


def test_the_image_matters(engine: TorchChat) -> None:
    answers = {
        tuple(
            wait(start(engine, engine.prompt(user_message(None, "What?"), [picture(32, 32, seed)])))
        )
        for seed in range(3)
    }
    assert len(answers) == 3


def test_image_tokens_count(engine: TorchChat) -> None:
    small = engine.prompt(user_message(None), [picture(16, 16)])
    large = engine.prompt(user_message(None), [picture(64, 64)])
    assert small.state.token_ids.count(IMAGE_TOKEN) == 4
    assert large.state.token_ids.count(IMAGE_TOKEN) == 64
    assert large.num_tokens - small.num_tokens == 60


@pytest.mark.parametrize("word", ["<|image_pad|>", "<|vision_start|>", "<|video_pad|>"])
def test_text_cannot_stand_for_an_image(engine: TorchChat, word: str) -> None:
    for messages in (user_message(None, f"x {word}"), [{"role": "user", "content": word}]):
        images = [picture(16, 16)] if messages[0]["content"] != word else []
        with pytest.raises(BadRequest, match="represents an image"):
            engine.prompt(messages, images)


@pytest.mark.parametrize("word", ["<|image_pad|>", "<|vision_start|>", "<|video_pad|>"])
def test_tokens_of_a_prompt_cannot_stand_for_an_image(engine: TorchChat, word: str) -> None:
    assert engine.vocabulary is not None
    with pytest.raises(BadRequest, match="represents an image"):
        engine.prompt_of(engine.vocabulary.encode(f"x {word} y", True))
    assert len(wait(start(engine, engine.prompt_of(engine.vocabulary.encode("x y", True))))) > 0


def test_an_invalid_aspect_ratio(engine: TorchChat) -> None:
    with pytest.raises(BadRequest, match="aspect ratio"):
        engine.prompt(user_message(None), [picture(900, 1)])


def test_a_text_model_rejects_images(tiny_chat: Callable[[str], Path]) -> None:
    with pytest.raises(LoadError, match="text model"):
        TorchChat(spec(), tiny_chat("llama"), 1)


@pytest.fixture
async def client(engine: TorchChat) -> AsyncIterator[httpx.AsyncClient]:
    """The real app with the tiny model, without a socket."""
    server = ServerState(spec(images={"maxPixels": 10_000, "maxBytes": 50_000}), 2)
    app = create_app(server)
    server.set_ready(engine)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as made:
        made.server = server  # type: ignore[attr-defined]
        yield made
    assert server.admission.running == 0


def body(*urls: str, text: str = "What is this?", **fields: Any) -> dict[str, Any]:
    parts: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    parts.append({"type": "text", "text": text})
    return {
        "model": "tiny-vl", "messages": [{"role": "user", "content": parts}],
        "temperature": 0, "max_tokens": NEW,
    } | fields  # fmt: skip


async def test_over_http(
    client: httpx.AsyncClient, engine: TorchChat, expected: list[tuple[int, list[int]]]
) -> None:
    length, ids = expected[0]
    answer = await client.post("/v1/chat/completions", json=body(data_url(picture(32, 48))))
    assert answer.status_code == 200
    found = answer.json()
    assert found["choices"][0]["message"]["content"] == engine.decode(ids)
    assert found["usage"]["prompt_tokens"] == length
    streamed = await client.post(
        "/v1/chat/completions", json=body(data_url(picture(32, 48)), stream=True)
    )
    assert streamed.text.endswith("data: [DONE]\n\n")


PLACE = "messages[0].content[0].image_url.url"
GOOD = data_url(picture(8, 8))


@pytest.mark.parametrize(
    ("url", "status", "code"),
    [
        ("data:image/png;base64,AAAA", 400, "invalid_image"),
        ("data:image/png;base64,%%%", 400, "invalid_image"),
        ("data:text/html;base64,AAAA", 400, "invalid_image"),
        (GOOD[:-40], 400, "invalid_image"),
        (data_url(Image.new("1", (101, 100))), 400, "image_too_large"),
        (data_url(Image.new("1", (12_000, 12_000))), 400, "image_too_large"),
        ("data:image/png;base64," + "A" * 80_000, 413, "request_too_large"),
        ("https://images.test/a.png", 400, "remote_images_off"),
        ("http://127.0.0.1/a.png", 400, "remote_images_off"),
        ("file:///etc/hostname", 400, None),
    ],
)  # fmt: skip
async def test_an_invalid_image(
    client: httpx.AsyncClient, url: str, status: int, code: str | None
) -> None:
    answer = await client.post("/v1/chat/completions", json=body(url))
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (status, code, PLACE)


async def test_the_invalid_one_of_two_images_is_named(client: httpx.AsyncClient) -> None:
    answer = await client.post(
        "/v1/chat/completions", json=body(GOOD, "data:image/png;base64,AAAA")
    )
    assert answer.json()["error"]["param"] == "messages[0].content[1].image_url.url"


async def test_an_image_may_make_the_prompt_too_long(client: httpx.AsyncClient) -> None:
    urls = [data_url(picture(64, 64, seed)) for seed in range(8)]
    answer = await client.post("/v1/chat/completions", json=body(*urls))
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "context_length_exceeded"
    assert "511" in answer.json()["error"]["message"]


async def test_too_many_images(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/chat/completions", json=body(*[GOOD] * 9))
    assert answer.status_code == 400
    assert "9 images; at most 8" in answer.json()["error"]["message"]
