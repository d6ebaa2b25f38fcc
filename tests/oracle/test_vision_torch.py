"""Qwen3-VL with images: the torch engine against `generate`, and requests over HTTP."""

from __future__ import annotations

import base64
import contextlib
import io
import queue
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from fleet_contract.errors import BadRequest, FleetError, TooLarge
from fleet_contract.spec import ModelSpec
from fleet_server.app import create_app
from fleet_server.engines.torch import TorchChat
from fleet_server.load_error import LoadError
from fleet_server.protocols import Prompt, Sampling, Step
from fleet_server.state import ServerState

NEW = 16
IMAGE_TOKEN = 5
VIDEO_TOKEN = 6


def picture(width: int, height: int, seed: int = 0) -> Any:
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def data_url(image: Any, kind: str = "PNG", **options: Any) -> str:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
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


def test_parts_of_a_text_cannot_stand_for_an_image_together(engine: TorchChat) -> None:
    messages = user_message("<|image_", "pad|>", None, "<|video_ ", "pad|>")
    prompt = engine.prompt(messages, [picture(16, 16)])
    assert prompt.state.token_ids.count(IMAGE_TOKEN) == 4
    assert VIDEO_TOKEN not in prompt.state.token_ids
    assert wait(start(engine, prompt))
    prompt = engine.prompt(user_message("<|image_", "pad|>"), [])
    assert IMAGE_TOKEN not in prompt.state.token_ids


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (200, 1), (1, 200), (9, 1800), (700, 500)])
def test_images_of_any_size(engine: TorchChat, size: tuple[int, int]) -> None:
    prompt = engine.prompt(user_message(None), [Image.new("RGB", size, "red")])
    assert wait(start(engine, prompt))


@pytest.mark.parametrize("size", [(900, 1), (1, 2000)])
def test_an_invalid_aspect_ratio(engine: TorchChat, size: tuple[int, int]) -> None:
    with pytest.raises(BadRequest, match="aspect ratio") as caught:
        engine.prompt(user_message(None), [Image.new("RGB", size)])
    assert (caught.value.param, caught.value.code) == ("messages", "invalid_image")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError("Input and output sizes should be greater than 0"), BadRequest),
        (ZeroDivisionError("division by zero"), BadRequest),
        (RuntimeError("can't allocate memory"), TooLarge),
        (MemoryError(), TooLarge),
    ],
)
def test_a_failure_of_the_processor_is_an_error_of_the_request(
    engine: TorchChat,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    expected: type[FleetError],
) -> None:
    """Other processors fail in other ways than Qwen's."""

    def fails(*args: Any, **kwargs: Any) -> None:
        raise error

    monkeypatch.setattr(engine._conversation._processor.image_processor, "preprocess", fails)
    with pytest.raises(expected) as caught:
        engine.prompt(user_message(None), [picture(16, 16)])
    assert caught.value.param == "messages"


def test_a_prompt_that_the_model_refuses_fails_alone(
    engine: TorchChat, expected: list[tuple[int, list[int]]]
) -> None:
    """With a placeholder less than the image has features."""
    prompt = engine.prompt(user_message(None), [picture(32, 32)])
    ids = list(prompt.state.token_ids)
    ids[ids.index(IMAGE_TOKEN)] = IMAGE_TOKEN + 20
    refused = replace(prompt, state=replace(prompt.state, token_ids=ids))
    before = [start(engine, engine.prompt(*case)) for case in CASES]
    step = start(engine, refused).get(timeout=180)
    assert isinstance(step.error, ValueError)
    after = start(engine, engine.prompt(*CASES[0]))
    assert [wait(steps) for steps in [*before, after]] == [
        ids for _, ids in [*expected, expected[0]]
    ]
    assert engine.healthy


@pytest.fixture(scope="module")
def picky(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TorchChat]:
    """Its template shows images of users, none of assistants, and those of the system twice."""
    copied = shutil.copytree(folder, tmp_path_factory.mktemp("picky"), dirs_exist_ok=True)
    template = copied / "chat_template.jinja"
    pad = "<|vision_start|><|image_pad|><|vision_end|>"
    times = "{{ {'system': 2, 'user': 1}.get(message['role'], 0) * '" + pad + "' }}"
    text = template.read_text()
    assert text.count(pad) == 1
    template.write_text(text.replace(pad, times))
    made = TorchChat(spec(), copied, 1)
    yield made
    made.close()


def in_turn_of(role: str, url: str) -> list[dict[str, Any]]:
    image = {"type": "image_url", "image_url": {"url": url}}
    content = [{"type": "text", "text": "a"}, image]
    return [{"role": role, "content": content}, {"role": "user", "content": "What is this?"}]


@pytest.mark.parametrize(("role", "shown"), [("assistant", 0), ("system", 2)])
async def test_images_that_the_template_does_not_show_once(
    picky: TorchChat, role: str, shown: int
) -> None:
    running = start(picky, picky.prompt(*CASES[0]))
    async with client_of(picky) as client:
        request = body() | {"messages": in_turn_of(role, data_url(picture(16, 16)))}
        answer = await client.post("/v1/chat/completions", json=request)
        assert answer.status_code == 400
        error = answer.json()["error"]
        assert error["param"] == "messages"
        assert "does not show the images of these messages" in error["message"]
        assert f"the prompt has {shown}." in error["message"]
        request["messages"][0]["role"] = "user"
        answer = await client.post("/v1/chat/completions", json=request)
        assert answer.status_code == 200
    assert wait(running)
    assert picky.healthy


def test_a_text_model_rejects_images(tiny_chat: Callable[[str], Path]) -> None:
    with pytest.raises(LoadError, match="text model"):
        TorchChat(spec(), tiny_chat("llama"), 1)


@contextlib.asynccontextmanager
async def client_of(engine: TorchChat) -> AsyncIterator[httpx.AsyncClient]:
    """The real app with the tiny model, without a socket."""
    server = ServerState(spec(images={"maxPixels": 10_000, "maxBytes": 50_000}), 2)
    app = create_app(server)
    server.set_ready(engine)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as made:
        yield made
    assert server.admission.running == 0


@pytest.fixture
async def client(engine: TorchChat) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(engine) as made:
        yield made


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
ANIMATED = data_url(picture(8, 8), "GIF", save_all=True, append_images=[picture(8, 8, 1)])
OTHER_MODES = [("I;16", "PNG"), ("P", "PNG"), ("LA", "PNG"), ("1", "PNG"), ("CMYK", "JPEG")]


@pytest.mark.parametrize(("mode", "kind"), OTHER_MODES)
async def test_modes_of_images(client: httpx.AsyncClient, mode: str, kind: str) -> None:
    image = Image.new("L", (8, 8), 9).convert(mode)
    answer = await client.post("/v1/chat/completions", json=body(data_url(image, kind)))
    assert answer.status_code == 200


async def test_an_image_that_the_processor_refuses(client: httpx.AsyncClient) -> None:
    strip = data_url(Image.new("L", (1, 2000)))
    answer = await client.post("/v1/chat/completions", json=body(GOOD, strip))
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, "invalid_image", "messages")


@pytest.mark.parametrize(
    ("url", "status", "code"),
    [
        ("data:image/png;base64,AAAA", 400, "invalid_image"),
        ("data:image/png;base64,%%%", 400, "invalid_image"),
        ("data:text/html;base64,AAAA", 400, "invalid_image"),
        (GOOD[:-40], 400, "invalid_image"),
        (ANIMATED, 400, "invalid_image"),
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
