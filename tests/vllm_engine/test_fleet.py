"""`modelfleet up -f` with a model of each engine."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx

from support import tiny_chat
from support.local_fleet import CHAT, EMBEDDING, READY, START_SECONDS, running_fleet

TINY_SPEECH = "Systran/faster-whisper-tiny.en"
MANIFEST = """\
apiVersion: modelfleet.dev/v1alpha1
kind: InferenceModel
metadata: {{name: {name}}}
spec: {{{fields}}}
---
"""


def manifest(path: Path, specs: dict[str, str]) -> Path:
    path.write_text("".join(MANIFEST.format(name=name, fields=specs[name]) for name in specs))
    return path


def test_every_engine_serves_in_one_fleet(
    demo_weights: Callable[[str], Path], tmp_path: Path
) -> None:
    (gguf,) = demo_weights(CHAT).glob("*.gguf")
    tiny = tiny_chat.write(tmp_path / "tiny", tiny_chat.QWEN3)
    short = "contextLength: 512, task: chat"
    path = manifest(tmp_path / "fleet.yaml", {
        "openvino": f"model: {CHAT}, engine: openvino, contextLength: 512",
        "llamacpp": f'model: llamacpp, engine: llamacpp, source: "file://{gguf}", {short}',
        "vllm": f'model: vllm, engine: vllm, source: "file://{tiny}", {short}, '
                "dtype: float32, cache: {kvGib: 0.01}",
        "torch": f"model: {EMBEDDING}, engine: torch",
        "chat": f'model: torch, engine: torch, source: "file://{tiny}", {short}, dtype: float32',
        "ctranslate2": f"model: {TINY_SPEECH}",
    })  # fmt: skip
    models = demo_weights(EMBEDDING).parent
    with running_fleet(models, tmp_path, "-f", str(path)) as fleet:
        fleet.wait_for(READY, START_SECONDS)
        with httpx.Client(base_url=fleet.base_url, timeout=120, trust_env=False) as http:
            listed = {one["id"]: one["engine"] for one in http.get("/v1/models").json()["data"]}
            assert listed == {
                CHAT: "openvino", "llamacpp": "llamacpp", "vllm": "vllm", EMBEDDING: "torch",
                "torch": "torch", TINY_SPEECH: "ctranslate2",
            }  # fmt: skip
            capital = "What is the capital of Japan?"
            for model in (CHAT, "llamacpp"):
                assert "Tokyo" in text_of(http, model, capital)
            assert text_of(http, "vllm", "fox") == text_of(http, "torch", "fox") != ""
            check_choices(http, "vllm")
            body = {"model": EMBEDDING, "input": "a fox"}
            [vector] = post(http, "/v1/embeddings", json=body)["data"]
            assert len(vector["embedding"]) == 384
            sample = next(each for each in files("fleet_bench").joinpath("samples").iterdir()
                          if each.name.endswith(".ogg"))  # fmt: skip
            found = post(
                http, "/v1/audio/transcriptions", data={"model": TINY_SPEECH},
                files={"file": (sample.name, sample.read_bytes())},
            )  # fmt: skip
            assert len(found["text"].split()) > 2
        assert fleet.end() == 0


def check_choices(http: httpx.Client, model: str) -> None:
    """Several choices are those of single requests with their seeds, which float32 makes exact."""
    body = {"model": model, "temperature": 1, "max_tokens": 12, "prompt": ["fox", "dog"]}
    several = post(http, "/v1/completions", json=body | {"seed": 5, "n": 3})
    single = [post(http, "/v1/completions", json=body | {"seed": seed}) for seed in (5, 6, 7)]
    texts = [[choice["text"] for choice in each["choices"]] for each in single]
    wanted = [of_seed[prompt] for prompt in range(2) for of_seed in texts]
    assert [choice["text"] for choice in several["choices"]] == wanted
    assert [choice["index"] for choice in several["choices"]] == list(range(6))
    assert len(set(wanted)) > 4
    assert several["usage"]["prompt_tokens"] == single[0]["usage"]["prompt_tokens"]
    written = sum(each["usage"]["completion_tokens"] for each in single)
    assert several["usage"]["completion_tokens"] == written


def text_of(http: httpx.Client, model: str, question: str) -> str:
    body = {"model": model, "temperature": 0, "max_tokens": 16,
            "messages": [{"role": "user", "content": question}]}  # fmt: skip
    text: str = post(http, "/v1/chat/completions", json=body)["choices"][0]["message"]["content"]
    return text


def post(http: httpx.Client, path: str, **fields: Any) -> Any:
    found = http.post(path, **fields)
    assert found.status_code == 200, found.text
    return found.json()
