"""An edge proxy before the routers, with what the annotations of the chart's Ingress stand for:
streams are not collected, large recordings pass, and a client that leaves is noticed."""

from __future__ import annotations

import array
import io
import json
import socket
import time
import wave
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from harness import edge as edges
from harness.api import Json
from harness.edge import Edge
from harness.fleet import CHAT, ROUTERS, SPEECH, Fleet, of_model
from harness.run import Run
from harness.servers import total
from support import waiting

TALE = {
    "model": CHAT,
    "messages": [{"role": "user", "content": "Tell a very long story about a dragon."}],
    "max_tokens": 400,
    "temperature": 0,
}
IN_FLIGHT = "modelfleet_in_flight"
ROUTER_IN_FLIGHT = "modelfleet_router_in_flight"


def client_of(edge: Edge) -> httpx.Client:
    """A client that knows the fleet by its host."""
    headers = {"host": edge.host}
    return httpx.Client(base_url=edge.url, headers=headers, timeout=300, trust_env=False)


@pytest.fixture
def http(edge: Edge) -> Iterator[httpx.Client]:
    with client_of(edge) as made:
        yield made


def test_only_the_api_is_let_in(http: httpx.Client) -> None:
    assert http.get("/v1/models").status_code == 200
    for path in ("/metrics", "/readyz", "/"):
        assert http.get(path).status_code == 404


def test_a_stream_arrives_as_it_is_written(http: httpx.Client, fleet: Fleet) -> None:
    arrives_as_it_is_written(http, fleet)


def test_a_stream_does_so_where_the_proxy_was_told_nothing(
    fleet: Fleet, run: Run, ingress: Json
) -> None:
    """The router asks for it itself, by X-Accel-Buffering."""
    plain = ingress | {"metadata": {"annotations": {}}}
    with (
        Edge(run, plain, fleet.url, edges.PORT + 1) as told_nothing,
        client_of(told_nothing) as http,
    ):
        arrives_as_it_is_written(http, fleet)


def arrives_as_it_is_written(http: httpx.Client, fleet: Fleet) -> None:
    servers = fleet.pods(of_model("smollm2"))
    arrivals = [time.monotonic()]
    with http.stream("POST", "/v1/chat/completions", json=TALE | {"stream": True}) as answer:
        assert answer.status_code == 200
        lines = filter(None, answer.iter_lines())
        while next(lines) != "data: [DONE]":
            arrivals.append(time.monotonic())
            if len(arrivals) == 3:  # the role, then the first word
                assert total(servers, IN_FLIGHT), "the answer was complete before it arrived"
    asked, _, first, *_, ended = arrivals
    assert ended - first > (ended - asked) / 3
    assert len({round(moment, 2) for moment in arrivals}) > 20


def test_a_recording_of_a_hundred_megabytes(
    edge: Edge, http: httpx.Client, fleet: Fleet, spoken: bytes
) -> None:
    """The words are its last second: nothing of it was lost on the way."""
    recording = padded(spoken, 100_000_000)
    with openai.OpenAI(
        base_url=f"{edge.url}/v1", api_key="none", default_headers={"host": edge.host},
        timeout=300, max_retries=0,
    ) as client:  # fmt: skip
        answer = client.audio.transcriptions.create(model=SPEECH, file=("long.wav", recording))
    assert "capital" in answer.text.lower()


@pytest.mark.parametrize("megabytes", [120, 140], ids=["for the model", "for the edge"])
def test_a_recording_that_is_too_large(http: httpx.Client, megabytes: int) -> None:
    answer = http.post(
        "/v1/audio/transcriptions",
        data={"model": SPEECH},
        files={"file": ("long.wav", b"\0" * megabytes * 1_000_000)},
    )
    assert answer.status_code == 413
    if megabytes < 128:
        assert "at most" in answer.json()["error"]["message"]


def test_a_client_that_leaves_a_stream_is_noticed(http: httpx.Client, fleet: Fleet) -> None:
    """One of two leaves: its request ends at once, and not when the other one's does."""
    servers, routers = fleet.pods(of_model("smollm2")), fleet.pods(ROUTERS)

    def stream() -> Any:
        return http.stream("POST", "/v1/chat/completions", json=TALE | {"stream": True})

    asked = time.monotonic()
    with stream() as staying:
        lines = staying.iter_lines()
        next(lines)
        with stream() as leaving:
            begun = leaving.iter_lines()  # kept: without its reader the stream is closed
            next(begun)
            assert total(servers, IN_FLIGHT) == total(routers, ROUTER_IN_FLIGHT) == 2
        waiting.until(lambda: total(servers, IN_FLIGHT) == 1 == total(routers, ROUTER_IN_FLIGHT))
        noticed = time.monotonic()
        *_, last = filter(None, lines)
        ended = time.monotonic()
    assert last == "data: [DONE]"
    assert ended - noticed > (ended - asked) / 4
    waiting.until(lambda: total(servers, IN_FLIGHT) == 0 == total(routers, ROUTER_IN_FLIGHT))


def test_a_client_that_leaves_before_its_answer_is_noticed(edge: Edge, fleet: Fleet) -> None:
    servers, routers = fleet.pods(of_model("smollm2")), fleet.pods(ROUTERS)

    def left() -> float:
        return total(servers, "modelfleet_requests_total", 'code="499"')

    before = left()
    body = json.dumps(TALE).encode()
    host, _, port = edge.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=60) as client:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {edge.host}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body)
        waiting.until(lambda: total(servers, IN_FLIGHT) == 1)
    waiting.until(lambda: total(servers, IN_FLIGHT) == 0 == total(routers, ROUTER_IN_FLIGHT))
    assert left() == before + 1


def padded(spoken: bytes, size: int) -> bytes:
    """A WAV file of `size` bytes that ends with a recording: silence before it, eight channels of
    32 bits, and eight times the samples a second."""
    with wave.open(io.BytesIO(spoken)) as source:
        rate = source.getframerate()
        samples = array.array("h", source.readframes(source.getnframes()))
    frame = 8 * 4
    sound = b"".join((sample << 16).to_bytes(4, "little", signed=True) * 64 for sample in samples)
    made = io.BytesIO()
    with wave.open(made, "wb") as target:
        target.setparams((8, 4, rate * 8, 0, "NONE", ""))
        target.writeframes(bytes((size - len(sound)) // frame * frame) + sound)
    return made.getvalue()
