"""Starts of a fleet: offline, with files and settings, and with errors."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

CHAT = "HuggingFaceTB/SmolLM2-135M-Instruct"
EMBEDDING = "sentence-transformers/all-MiniLM-L6-v2"
READY = "The fleet is ready at"
SECONDS = 240
WATCH_SECONDS = 12
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
TINY = "apiVersion: modelfleet.dev/v1alpha1\nkind: InferenceModel\nmetadata: {name: tiny}\n"


def ends(fleet: Any) -> str:
    """The output of a start that must fail by itself, with status 1 and no process left."""
    assert fleet.process.wait(SECONDS) == 1
    fleet.end()
    output: str = fleet.output
    assert "Traceback" not in output
    assert READY not in output
    assert output.count("modelfleet up: ") == 1
    return output


class Listener:
    """A proxy that records connections."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.seen: list[bytes] = []
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            with connection:
                connection.settimeout(60)
                head = connection.recv(2000)
                if head == b"end":
                    return
                self.seen.append(head)

    def close(self) -> None:
        with socket.create_connection(self._socket.getsockname()) as last:
            last.sendall(b"end")
        self._thread.join()
        self._socket.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    yield made
    made.close()


def test_the_listener_records_connections(listener: Listener) -> None:
    with httpx.Client(proxy=listener.url) as client, pytest.raises(httpx.HTTPError):
        client.get("http://somewhere.invalid/")
    assert listener.seen[0].startswith(b"GET http://somewhere.invalid/")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home without consent files, where telemetry packages would ask or send by default."""
    yield tmp_path
    assert not list(tmp_path.rglob("*telemetry*"))


async def test_no_connections_to_other_machines(
    start_fleet: Any, listener: Listener, home: Path
) -> None:
    variables = dict.fromkeys(PROXIES, listener.url)
    with start_fleet(**variables, HOME=str(home), NO_PROXY="", no_proxy="", CI="") as fleet:
        fleet.wait_for(READY, SECONDS)
        async with httpx.AsyncClient(base_url=fleet.base_url, trust_env=False, timeout=180) as http:
            message = {"role": "user", "content": "Hi."}
            body = {"model": CHAT, "messages": [message], "max_tokens": 4}
            assert (await http.post("/v1/chat/completions", json=body)).status_code == 200
            body = {"model": EMBEDDING, "input": "a"}
            assert (await http.post("/v1/embeddings", json=body)).status_code == 200
        outside = [
            connection.raddr
            for process in fleet.children()
            for connection in process.net_connections("inet")
            if connection.raddr and not connection.raddr.ip.startswith("127.")
        ]
        assert outside == []
        # ONNX Runtime's own thread sends telemetry some seconds after its first session, if
        # enabled.
        await asyncio.sleep(WATCH_SECONDS)
        assert listener.seen == []


def test_a_second_start_needs_no_network(start_fleet: Any) -> None:
    nowhere = dict.fromkeys(PROXIES, "http://127.0.0.1:9")
    with start_fleet("--models", "minilm", **nowhere, PIP_NO_INDEX="1") as fleet:
        fleet.wait_for(READY, SECONDS)
        assert "fetching" not in fleet.output


async def test_loading_models_are_a_503_without_waiting(start_fleet: Any, until: Any) -> None:
    with start_fleet("--models", "smollm2", HOLD_SECONDS="0.1") as fleet:
        body = {"model": CHAT, "messages": [{"role": "user", "content": "Hi."}], "max_tokens": 1}
        seen: list[httpx.Response] = []
        async with httpx.AsyncClient(base_url=fleet.base_url, trust_env=False, timeout=180) as http:

            async def has_response() -> bool:
                with contextlib.suppress(httpx.ConnectError):  # the router is not started yet
                    seen.append(await http.post("/v1/chat/completions", json=body))
                return bool(seen) and seen[-1].status_code == 200

            await until(has_response, SECONDS)
        loading = seen[:-1]
        assert loading
        for answer in loading:
            assert answer.status_code == 503
            assert answer.json()["error"]["code"] == "model_not_ready"
            assert float(answer.headers["retry-after"]) > 0
        fleet.wait_for(READY, SECONDS)


async def test_a_full_queue_is_a_429_with_retry_after(start_fleet: Any) -> None:
    """One request in the batch and one in the queue, however many passes may run."""
    settings = {"CHAT_BATCH_MAX_SIZE": "1", "MAX_QUEUE_SIZE": "1", "MAX_CONCURRENT": "4"}
    with start_fleet("--models", "smollm2", **settings) as fleet:
        fleet.wait_for(READY, SECONDS)
        body = {"model": CHAT, "max_tokens": 30,
                "messages": [{"role": "user", "content": "Tell me about rivers."}]}  # fmt: skip
        async with httpx.AsyncClient(base_url=fleet.base_url, trust_env=False, timeout=180) as http:
            answers = await asyncio.gather(
                *(http.post("/v1/chat/completions", json=body) for _ in range(12))
            )
        codes = [answer.status_code for answer in answers]
        assert set(codes) == {200, 429}
        assert codes.count(200) >= 2
        for answer in answers:
            if answer.status_code == 429:
                assert answer.json()["error"]["code"] == "queue_full"
                assert float(answer.headers["retry-after"]) > 0


def test_a_file_of_manifests_and_dotenv(start_fleet: Any, tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_text(TINY + f"spec: {{model: {EMBEDDING}, aliases: [mine]}}\n")
    (tmp_path / ".env").write_text("LOG_FORMAT=text\nMODELS=nobody/knows\nMAX_ITEMS=3\n")
    with start_fleet("-f", "fleet.yaml", folder=tmp_path) as fleet:
        fleet.wait_for(READY, SECONDS)
        with httpx.Client(base_url=fleet.base_url, trust_env=False, timeout=180) as http:
            listed = http.get("/v1/models").json()["data"]
            assert [entry["id"] for entry in listed] == [EMBEDDING]
            assert listed[0]["aliases"] == ["mine"]
            answer = http.post("/v1/embeddings", json={"model": "mine", "input": ["a"] * 4})
            assert answer.status_code in (400, 413)
            assert "3" in answer.json()["error"]["message"]
        assert "all-MiniLM-L6-v2 | " in fleet.output
        assert "router | " in fleet.output


def test_an_unknown_model_fails_before_anything_is_fetched(start_fleet: Any) -> None:
    with start_fleet("--models", "smollm2,smollm3") as fleet:
        assert "did you mean smollm2?" in ends(fleet)


def test_a_missing_file_fails(start_fleet: Any) -> None:
    with start_fleet("-f", "none.yaml") as fleet:
        assert "none.yaml" in ends(fleet)


def test_an_occupied_port_fails_with_a_hint(start_fleet: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with start_fleet("--models", "minilm", port=port) as fleet:
            output = ends(fleet)
    assert "another process listens there" in output
    assert f"modelfleet up --port {port + 1}" in output


def test_missing_weights_fail_without_downloads(start_fleet: Any, tmp_path: Path) -> None:
    with start_fleet(
        "--models", "minilm", AUTO_DOWNLOAD_MODELS="0", MODELS_DIR=str(tmp_path)
    ) as fleet:
        output = ends(fleet)
        assert "are not in" in output
        assert f"modelfleet pull {EMBEDDING}" in output


def test_failed_downloads_have_a_reason(start_fleet: Any, tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_text(
        TINY + 'spec: {model: acme/gone, task: embedding, source: "https://127.0.0.1:9/x.gguf",'
        f" sha256: {'0' * 64}}}\n"
    )
    with start_fleet("-f", "fleet.yaml", folder=tmp_path) as fleet:
        ends(fleet)


@pytest.fixture
def broken(tmp_path: Path) -> str:
    """Manifest of a model whose weights pass the checks before the start and fail to load."""
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "bert"}')
    (folder / "tokenizer.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{broken}")
    return (
        TINY + f'spec: {{model: acme/broken, task: embedding, source: "file://{folder}",'
        " engine: openvino}\n"
    )


def test_a_load_error_of_the_only_model_fails_the_start(
    start_fleet: Any, tmp_path: Path, broken: str
) -> None:
    (tmp_path / "fleet.yaml").write_text(broken)
    with start_fleet("-f", "fleet.yaml", folder=tmp_path) as fleet:
        output = ends(fleet)
        assert "broken/tokenizer.json cannot be read" in output
        assert "acme--broken.log" in output


def test_a_load_error_keeps_the_other_models_serving(
    start_fleet: Any, tmp_path: Path, broken: str
) -> None:
    good = f"{TINY.replace('tiny', 'good')}spec: {{model: {EMBEDDING}}}\n"
    (tmp_path / "fleet.yaml").write_text(f"{broken}---\n{good}")
    with start_fleet("-f", "fleet.yaml", folder=tmp_path) as fleet:
        assert "acme--broken.log" in fleet.wait_for("acme/broken failed to start", SECONDS)
        fleet.wait_for(READY, SECONDS)
        (row,) = (line for line in fleet.lines if line.startswith("acme/broken "))
        assert "failed" in row
        with httpx.Client(base_url=fleet.base_url, trust_env=False, timeout=180) as http:
            answer = http.post("/v1/embeddings", json={"model": EMBEDDING, "input": "a"})
            assert answer.status_code == 200
        fleet.wait_for("acme/broken failed to load", SECONDS)
        assert fleet.end() == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--device", "tpu"), "must be auto, cpu, mps, cuda, cuda:N (NVIDIA, and AMD"),
        (("--host", "no.such.host.invalid"), "not an address"),
    ],
)
def test_invalid_options_are_rejected(
    start_fleet: Any, arguments: tuple[str, ...], words: str
) -> None:
    with start_fleet("--models", "minilm", *arguments) as fleet:
        assert fleet.process.wait(SECONDS) in (1, 2)
        fleet.end()
        assert words in fleet.output
