"""Fixtures of the real fleet: `modelfleet up` on a free port, one for the session."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import openai
import psutil
import pytest

from support import tiny_chat, tiny_gguf
from support.dequantised import dequantised
from support.local_fleet import (
    CHAT,
    EMBEDDING,
    READY,
    SPEECH,
    START_SECONDS,
    Fleet,
    left_of,
    running_fleet,
)
from support.required import require_program


@pytest.fixture(scope="session")
def gone() -> Callable[[list[psutil.Process]], bool]:
    """Whether processes end within seconds."""
    return lambda family: left_of(family) == []


Start = Callable[..., AbstractContextManager[Fleet]]


@pytest.fixture(scope="session")
def start_fleet(demo_weights: Any, tmp_path_factory: pytest.TempPathFactory) -> Start:
    """`with start_fleet(*arguments, VARIABLE=value, ...) as fleet`, without waiting until it is
    ready.

    The block must end the fleet itself if how it ends matters.
    """

    models = demo_weights(EMBEDDING).parent

    def start(
        *arguments: str, port: int | None = None, folder: Path | None = None, **variables: str
    ) -> AbstractContextManager[Fleet]:
        folder = folder or tmp_path_factory.mktemp("fleet")
        return running_fleet(models, folder, *arguments, port=port, **variables)

    return start


@pytest.fixture(scope="session")
def demo(start_fleet: Start) -> Iterator[Fleet]:
    """Chat, embeddings and speech."""
    with start_fleet() as started:
        started.wait_for(READY, START_SECONDS)
        yield started
        assert started.end() == 0


@pytest.fixture(scope="session")
def fleet(demo: Fleet) -> Fleet:
    """The fleet of `http` and `client`; modules may override it."""
    return demo


CONTEXT_LENGTHS = {"openvino": 8192, "llamacpp": 512, "vllm": 512, "torch": 2048}
"""By engine; llama.cpp reads prompts slowly without AVX-512."""
CHAT_ENGINES = os.environ.get("CHAT_ENGINES", "openvino,torch,llamacpp").split(",")
"""The engines that the chat suites run with; `make test-vllm` sets it to vllm."""
MANIFEST = """\
apiVersion: modelfleet.dev/v1alpha1
kind: InferenceModel
metadata: {{name: smollm2}}
spec:
  model: {model}
  engine: {engine}
  {source}
  contextLength: {length}
  cache: {{prefix: false}}  # greedy text that does not depend on earlier requests
  golden:
    - {{prompt: "What is the capital of Japan?", contains: Tokyo}}
    - prompt: Is the sky blue?
      matches:
        schema: {{type: object, properties: {{blue: {{type: boolean}}}}, required: [blue]}}
"""


TINY = """\
apiVersion: modelfleet.dev/v1alpha1
kind: InferenceModel
metadata: {{name: {engine}}}
spec:
  model: {model}
  engine: {engine}
  task: chat
  source: file://{source}
  contextLength: {length}
  dtype: float32
  cache: {{kvGib: 0.1, prefix: false}}
---
"""
SPEAKING = f"""\
apiVersion: modelfleet.dev/v1alpha1
kind: InferenceModel
metadata: {{name: speech}}
spec: {{model: {SPEECH}, engine: ctranslate2}}
"""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the chat suites with each engine; torch has random weights, as real ones take it minutes,
    and no tests marked `sense`."""
    marks = [*metafunc.definition.iter_markers("parametrize")]
    if "chat_fleet" in metafunc.fixturenames and all(m.args[0] != "chat_fleet" for m in marks):
        sense = metafunc.definition.get_closest_marker("sense") is not None
        engines = [each for each in CHAT_ENGINES if not (sense and each == "torch")]
        metafunc.parametrize("chat_fleet", engines, indirect=True, scope="session")


@pytest.fixture(scope="session")
def of_every_engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest with a model of each engine, tiny random ones for chat; torch's has the name of
    the demo's."""
    folder = tmp_path_factory.mktemp("engines")
    tiny = tiny_chat.write(folder / "tiny", tiny_chat.QWEN3)
    models = {"torch": CHAT, "openvino": "tiny-openvino", "llamacpp": "tiny-llamacpp"}
    sources = dict.fromkeys(models, tiny)
    sources["llamacpp"] = tiny_gguf.write(folder / "tiny.gguf", tiny_chat.QWEN3)
    text = "".join(
        TINY.format(engine=engine, model=model, source=sources[engine],
                    length=CONTEXT_LENGTHS["torch"])
        for engine, model in models.items()
    )  # fmt: skip
    path = folder / "fleet.yaml"
    path.write_text(text + SPEAKING)
    return path


@pytest.fixture(scope="session")
def manifest_of(
    demo_weights: Any, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """A manifest of the demo's chat model with an engine."""

    def write(engine: str) -> Path:
        source = ""
        if engine == "vllm":  # which reads no GGUF
            (gguf,) = demo_weights(CHAT).glob("*.gguf")
            source = f"source: file://{dequantised(gguf, tmp_path_factory.mktemp('smollm2'))}"
        path = tmp_path_factory.mktemp("manifests") / "smollm2.yaml"
        length = CONTEXT_LENGTHS[engine]
        path.write_text(MANIFEST.format(model=CHAT, engine=engine, source=source, length=length))
        return path

    return write


@pytest.fixture(scope="session")
def chat_fleet(
    request: pytest.FixtureRequest,
    start_fleet: Start,
    manifest_of: Callable[[str], Path],
    of_every_engine: Path,
) -> Iterator[Fleet]:
    """A fleet with a chat model of the demo's name, for each engine."""
    if request.param == "openvino":
        yield request.getfixturevalue("demo")
        return
    manifest = of_every_engine if request.param == "torch" else manifest_of(request.param)
    with start_fleet("-f", str(manifest)) as started:
        started.wait_for(READY, START_SECONDS)
        yield started
        assert started.end() == 0


@pytest.fixture
def context_length(request: pytest.FixtureRequest) -> int:
    """The context length of the model of `chat_fleet`."""
    return CONTEXT_LENGTHS[request.node.callspec.params["chat_fleet"]]


@pytest.fixture
async def http(fleet: Fleet) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=fleet.base_url, timeout=300, trust_env=False) as made:
        yield made


@pytest.fixture
async def client(fleet: Fleet) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=f"{fleet.base_url}/v1", api_key="none", max_retries=0, timeout=300,
        http_client=openai.DefaultAsyncHttpxClient(trust_env=False),
    ) as made:  # fmt: skip
        yield made


@pytest.fixture(scope="session")
def speak(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A recording of a sentence, spoken by espeak-ng in the given language."""
    require_program("espeak-ng")
    folder = tmp_path_factory.mktemp("speech")

    def say(text: str, voice: str = "en-us") -> Path:
        path = folder / f"{abs(hash((text, voice)))}.wav"
        if not path.exists():
            command = ["espeak-ng", "-v", voice, "-s", "150", "-w", str(path), text]
            subprocess.run(command, check=True, timeout=180)
        return path

    return say


@pytest.fixture(scope="session")
def until() -> Callable[..., Any]:
    """`await until(condition, seconds)` waits for an async condition and returns its true value."""

    async def wait(condition: Callable[[], Awaitable[Any]], seconds: float = 180) -> Any:
        async with asyncio.timeout(seconds):
            while not (found := await condition()):  # noqa: ASYNC110  (no event of ours)
                await asyncio.sleep(0.05)
        return found

    return wait


@pytest.fixture
def metric(http: httpx.AsyncClient) -> Callable[..., Any]:
    """`await metric(name, **labels)`: the sum of the matching series of the router's /metrics.

    Without a matching series it fails, or returns `none` if given: a series with labels exists only
    after its first event.
    """

    async def read(name: str, none: float | None = None, **labels: str) -> float:
        text = (await http.get("/metrics")).text
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        found = [
            float(line.rpartition(" ")[2])
            for line in text.splitlines()
            if line.startswith(f"{name}{{") and all(label in line for label in wanted)
        ]
        if not found and none is not None:
            return none
        assert found, f"no series {name} {labels}"
        return sum(found)

    return read
