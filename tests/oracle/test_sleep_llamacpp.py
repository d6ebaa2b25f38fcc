"""Models of llama.cpp are unloaded while idle, and give the same results when loaded again.

All models sleep at the same time, which is most of the time of this test.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from fleet_contract.errors import NotReady
from fleet_contract.spec import ModelSpec
from fleet_server.engines.llamacpp import sleep
from fleet_server.engines.llamacpp.chat import LlamaChat
from fleet_server.engines.llamacpp.embedding import LlamaEmbedding
from fleet_server.engines.llamacpp.rerank import LlamaRerank
from fleet_server.protocols import ReleasesMemory, Sampling, Step
from support import tiny_adapter, tiny_chat, tiny_gguf, tiny_vision_gguf
from support.waiting import until

SECONDS = sleep.LEAST_SECONDS
CONFIG = tiny_chat.QWEN3
LONG = "The quick brown fox jumps over the lazy dog. " * 12
Result = Callable[[], Any]


@pytest.fixture
def files(tiny_chat: Callable[[str], Path], tmp_path: Path) -> Path:
    """GGUFs of all kinds; those of a model with images in the folder `images`."""
    source = tiny_chat("qwen3-vl")
    seen = AutoModelForImageTextToText.from_pretrained(source)
    (tmp_path / "images").mkdir()
    processor = AutoProcessor.from_pretrained(source).image_processor
    tiny_vision_gguf.write(tmp_path / "images", seen, processor)
    kinds = {"chat": None, "embedding": gguf.PoolingType.MEAN, "rerank": gguf.PoolingType.RANK,
             "replaced": gguf.PoolingType.RANK}  # fmt: skip
    for name, pooling in kinds.items():
        tiny_gguf.write(tmp_path / f"{name}.gguf", CONFIG, pooling=pooling)
    tiny_adapter.write_peft(tmp_path / "adapter", CONFIG, 3)
    return tmp_path


@pytest.fixture
def engines(files: Path) -> Iterator[dict[Any, Result]]:
    """What each engine computes."""

    def spec(task: str, **fields: Any) -> ModelSpec:
        return ModelSpec.model_validate({
            "model": "tiny", "task": task, "contextLength": 512, "dtype": "float32",
            "cache": {"releaseAfter": SECONDS}, "batching": {"maxSize": 2, "maxTokens": 256},
            **fields,
        })  # fmt: skip

    source = "file:///tiny.gguf"
    own = {"speculative": {"draft": {"source": source}},
           "adapters": [{"name": "tuned", "source": source}]}  # fmt: skip
    chat = LlamaChat(
        spec("chat", **own), files / "chat.gguf", 1, {"tuned": files / "adapter"},
        files / "chat.gguf",
    )  # fmt: skip
    images = LlamaChat(spec("chat", vision=True), files / "images", 1)
    vectors = LlamaEmbedding(spec("embedding"), files / "embedding.gguf", 1)
    ranks = LlamaRerank(spec("rerank"), files / "rerank.gguf", 1)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 48, 3), np.uint8))
    parts = [{"type": "image"}, {"type": "text", "text": "What is this?"}]
    with ExitStack() as until_done:
        for engine in (chat, images, vectors, ranks):
            until_done.enter_context(closing(engine))
        yield {
            chat: lambda: [text(chat, LONG, [], name) for name in (None, "tuned")],
            images: lambda: text(images, parts, [picture]),
            vectors: lambda: vectors.embed(vectors.tokenize([LONG, "fox"])),
            ranks: lambda: ranks.score(ranks.tokenize_pairs("fox", [LONG, "dog"])),
        }


@pytest.fixture
def replaced(files: Path) -> Iterator[LlamaRerank]:
    """A model whose file is replaced while it sleeps, after it was replaced while it did not."""
    path = files / "replaced.gguf"
    spec = ModelSpec.model_validate({
        "model": "tiny", "task": "rerank", "contextLength": 512, "cache": {"releaseAfter": SECONDS},
    })  # fmt: skip
    with closing(LlamaRerank(spec, path, 1)) as engine:
        (files / "new.gguf").write_bytes(path.read_bytes())
        (files / "new.gguf").replace(path)
        server_of(engine)._wake()
        assert engine.healthy
        yield engine


@pytest.fixture
def incomplete(files: Path) -> Iterator[LlamaChat]:
    """A model whose draft model and adapter are removed while it sleeps."""
    adapter = tiny_adapter.write_gguf(files / "adapter.gguf", CONFIG, 3)
    draft = tiny_gguf.write(files / "draft.gguf", CONFIG)
    spec = ModelSpec.model_validate({
        "model": "tiny", "contextLength": 512, "cache": {"releaseAfter": SECONDS},
        "batching": {"maxSize": 2}, "speculative": {"draft": {"source": f"file://{draft}"}},
    })  # fmt: skip
    made = LlamaChat(spec, files / "chat.gguf", 1, {"tuned": adapter}, draft)
    with closing(made) as engine:
        yield engine


def text(engine: LlamaChat, content: Any, images: list[Any], adapter: str | None = None) -> str:
    steps: queue.Queue[Step] = queue.Queue()
    prompt = engine.prompt([{"role": "user", "content": content}], images)
    engine.submit(prompt, Sampling(8, temperature=0, adapter=adapter), steps.put)
    found = ""
    while True:
        step = steps.get(timeout=180)
        assert step.error is None, step.error
        found += step.delta.text if step.delta is not None else ""
        if step.finish is not None:
            return found


def server_of(engine: Any) -> Any:
    return engine._server if isinstance(engine, LlamaChat) else engine._model.server


def test_models_are_loaded_again_for_the_next_request(
    engines: dict[Any, Result], replaced: LlamaRerank, incomplete: LlamaChat, files: Path
) -> None:
    before = [result() for result in engines.values()]
    assert before[0][0] != before[0][1]
    asleep: list[Any] = [*engines, replaced, incomplete]
    with ThreadPoolExecutor(len(asleep)) as pool:
        assert all(isinstance(engine, ReleasesMemory) for engine in asleep)
        list(pool.map(lambda engine: engine.release(), asleep))
        for engine in asleep:
            until(lambda engine=engine: server_of(engine).is_asleep, 60)  # type: ignore[misc]
        assert all(engine.may_unmap and engine.healthy for engine in asleep)
        after = list(pool.map(lambda result: result(), engines.values()))
    assert after[:2] == before[:2]
    for found, wanted in zip(after[2:], before[2:], strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-4)
    other = files / "rerank.gguf"
    other.replace(files / "replaced.gguf")
    with pytest.raises(NotReady):
        replaced.tokenize_pairs("fox", ["dog"])
    assert not replaced.healthy
    for name in ("adapter", "draft"):
        (files / f"{name}.gguf").unlink()
    with pytest.raises(NotReady):
        text(incomplete, LONG, [])
    assert not incomplete.healthy
