"""Catalog models from a local hub to a response, on a CPU without torch.

The repositories hold tiny random weights in the file layout of the public ones.
"""

from __future__ import annotations

import io
import math
import os
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from support import hub_repositories
from support.hub import Hub

pytestmark = pytest.mark.weights

BGE_M3 = "BAAI/bge-m3"
GEMMA = "google/embeddinggemma-300m"
LLAMA = "meta-llama/Llama-3.2-1B-Instruct"
WHISPER = "openai/whisper-tiny"
VISION = "Qwen/Qwen3-VL-2B-Instruct"
READY = "The fleet is ready at"
SECONDS = 480
PICKLES = (".bin", ".pt", ".pth", ".h5", ".msgpack")
BLOCKER = """
import sys
for name in ("torch", "torchvision", "transformers", "accelerate"):
    sys.modules[name] = None
"""


@pytest.fixture
def without_torch(tmp_path: Path) -> dict[str, str]:
    """Variables with which no process of a fleet can import torch."""
    folder = tmp_path / "blocker"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(BLOCKER)
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(paths), "CUDA_VISIBLE_DEVICES": ""}


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub({}).serving() as serving:
        yield serving


@pytest.fixture
def variables(hub: Hub, without_torch: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """Settings of a user besides MODELS: the hub's address, a token, a cache folder."""
    return {
        **without_torch, "HF_ENDPOINT": hub.url, "HF_TOKEN": hub.token, "NO_PROXY": "127.0.0.1",
        "MODELS_DIR": str(tmp_path / "models"),
    }  # fmt: skip


def engines(http: httpx.Client) -> dict[str, str]:
    return {one["id"]: one["engine"] for one in http.get("/v1/models").json()["data"]}


def recording(seconds: float = 2.0) -> bytes:
    """A WAV file of a tone with rising pitch."""
    time = np.arange(int(16000 * seconds)) / 16000
    tone = 0.3 * np.sin(2 * math.pi * (200 + 300 * time) * time)
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(16000)
        out.writeframes((tone * 32767).astype("<i2").tobytes())
    return file.getvalue()


def assert_no_pickle(hub: Hub, repo: str) -> None:
    fetched = hub.fetched(repo)
    assert fetched
    assert [name for name in fetched if name.endswith(PICKLES)] == []
    assert not any(name.startswith(("original/", "imgs/")) for name in fetched)


def test_chat_and_bge_m3(
    start_fleet: Any, hub: Hub, variables: dict[str, str], tmp_path: Path
) -> None:
    hub.repositories = {
        BGE_M3: hub_repositories.bge_m3(tmp_path / "bge-m3"),
        LLAMA: hub_repositories.llama(tmp_path / "llama"),
    }
    hub.gated.add(LLAMA)
    with start_fleet(**variables, MODELS=f"{BGE_M3},{LLAMA}") as fleet:
        fleet.wait_for(READY, SECONDS)
        assert f"converting {LLAMA}" in fleet.output
        with httpx.Client(base_url=fleet.base_url, trust_env=False, timeout=180) as http:
            assert engines(http) == {BGE_M3: "openvino", LLAMA: "openvino"}
            body = {"model": BGE_M3, "input": ["The cat sits outside.", "Paris"]}
            vectors = [one["embedding"] for one in http.post(
                "/v1/embeddings", json=body).json()["data"]]  # fmt: skip
            assert [len(vector) for vector in vectors] == [1024, 1024]
            assert math.dist(*vectors) > 0.1
            body = {"model": LLAMA, "max_tokens": 8, "temperature": 0,
                    "messages": [{"role": "user", "content": "What is the capital?"}]}  # fmt: skip
            answers = [http.post("/v1/chat/completions", json=body) for _ in range(2)]
            assert [answer.status_code for answer in answers] == [200, 200]
            first, second = (answer.json() for answer in answers)
            assert first["usage"]["completion_tokens"] > 0
            assert first["choices"][0]["message"] == second["choices"][0]["message"]
    assert_no_pickle(hub, BGE_M3)
    assert_no_pickle(hub, LLAMA)
    named = {"onnx/model.onnx", "onnx/model.onnx_data", "onnx/Constant_7_attr__value"}
    assert named <= hub.fetched(BGE_M3)
    with start_fleet(
        **variables | {"HF_ENDPOINT": "http://127.0.0.1:9"}, MODELS=f"{BGE_M3},{LLAMA}"
    ) as again:
        again.wait_for(READY, SECONDS)
        assert "fetching" not in again.output
        assert "converting" not in again.output


def test_whisper_tiny(
    start_fleet: Any, hub: Hub, variables: dict[str, str], tmp_path: Path,
    demo_weights: Callable[[str], Path],
) -> None:  # fmt: skip
    tokenizer = demo_weights("openai/whisper-base") / "tokenizer.json"
    hub.repositories[WHISPER] = hub_repositories.whisper(tmp_path / "whisper", tokenizer)
    with start_fleet(**variables, MODELS=WHISPER) as fleet:
        fleet.wait_for(READY, SECONDS)
        with httpx.Client(base_url=fleet.base_url, trust_env=False, timeout=180) as http:
            assert engines(http) == {WHISPER: "ctranslate2"}
            answer = http.post(
                "/v1/audio/transcriptions", data={"model": WHISPER, "language": "en"},
                files={"file": ("tone.wav", recording(), "audio/wav")},
            )  # fmt: skip
            assert answer.status_code == 200, answer.text
            assert isinstance(answer.json()["text"], str)
    assert_no_pickle(hub, WHISPER)


def test_embeddinggemma(
    start_fleet: Any, hub: Hub, variables: dict[str, str], tmp_path: Path
) -> None:
    hub.repositories[GEMMA] = hub_repositories.embeddinggemma(tmp_path / "gemma")
    with start_fleet(**variables, MODELS=GEMMA) as fleet:
        fleet.wait_for(READY, SECONDS)
        with httpx.Client(base_url=fleet.base_url, trust_env=False, timeout=180) as http:
            assert engines(http) == {GEMMA: "openvino"}
            answer = http.post("/v1/embeddings", json={"model": GEMMA, "input": "a river"})
            assert len(answer.json()["data"][0]["embedding"]) == 768
    assert_no_pickle(hub, GEMMA)


def test_models_that_need_torch_are_rejected_before_fetching(
    start_fleet: Any, hub: Hub, variables: dict[str, str], tmp_path: Path
) -> None:
    hub.repositories = {
        GEMMA: hub_repositories.embeddinggemma(tmp_path / "gemma"),
        VISION: hub_repositories.filled(tmp_path / "vision", VISION),
    }
    with start_fleet(**variables, MODELS=f"{GEMMA},{VISION}") as fleet:
        assert fleet.process.wait(SECONDS) == 1
        output = fleet.output
    assert f"{VISION} needs the torch engine" in output
    assert "make up TORCH=1" in output
    assert "fetching" not in output
    assert not any(name.endswith(".safetensors") for name in hub.requested_files)
    assert not (tmp_path / "models").exists()
