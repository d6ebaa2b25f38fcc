"""An edge proxy in front of the routers, configured by the annotations of the chart's Ingress: it
does not buffer streams, passes large recordings and forwards disconnects of clients.
"""

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

LONG_CHAT = {
    "model": CHAT,
    "messages": [{"role": "user", "content": "Tell a very long story about a dragon."}],
    "max_tokens": 400,
    "temperature": 0,
}
IN_FLIGHT = "modelfleet_in_flight"
ROUTER_IN_FLIGHT = "modelfleet_router_in_flight"


def client_of(edge: Edge) -> httpx.Client:
    """A client that sends the host of the Ingress."""
    headers = {"host": edge.host}
    return httpx.Client(base_url=edge.url, headers=headers, timeout=300, trust_env=False)


@pytest.fixture
def http(edge: Edge) -> Iterator[httpx.Client]:
    with client_of(edge) as made:
        yield made


def test_only_the_api_is_exposed(http: httpx.Client) -> None:
    assert http.get("/v1/models").status_code == 200
    for path in ("/metrics", "/readyz", "/"):
        assert http.get(path).status_code == 404


def test_streams_are_not_buffered(http: httpx.Client, fleet: Fleet) -> None:
    check_not_buffered(http, fleet)


def test_streams_are_not_buffered_without_annotations(
    fleet: Fleet, run: Run, ingress: Json
) -> None:
    """The router requests it with X-Accel-Buffering."""
    plain = ingress | {"metadata": {"annotations": {}}}
    with (
        Edge(run, plain, fleet.url, edges.PORT + 1) as plain_proxy,
        client_of(plain_proxy) as http,
    ):
        check_not_buffered(http, fleet)


def check_not_buffered(http: httpx.Client, fleet: Fleet) -> None:
    servers = fleet.pods(of_model("smollm2"))
    arrivals = [time.monotonic()]
    with http.stream("POST", "/v1/chat/completions", json=LONG_CHAT | {"stream": True}) as answer:
        assert answer.status_code == 200
        lines = filter(None, answer.iter_lines())
        while next(lines) != "data: [DONE]":
            arrivals.append(time.monotonic())
            if len(arrivals) == 3:  # the role, then the first word
                assert total(servers, IN_FLIGHT), "the response arrived only when complete"
    sent, _, first, *_, ended = arrivals
    assert ended - first > (ended - sent) / 3
    assert len({round(moment, 2) for moment in arrivals}) > 20


def test_a_recording_of_a_hundred_megabytes(
    edge: Edge, http: httpx.Client, fleet: Fleet, speech_wav: bytes
) -> None:
    """The words are in its last second, so nothing was lost on the way."""
    recording = padded(speech_wav, 100_000_000)
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


def test_a_disconnect_during_a_stream(http: httpx.Client, fleet: Fleet) -> None:
    """One of two clients disconnects: its request ends at once, the other one goes on."""
    servers, routers = fleet.pods(of_model("smollm2")), fleet.pods(ROUTERS)

    def stream() -> Any:
        return http.stream("POST", "/v1/chat/completions", json=LONG_CHAT | {"stream": True})

    sent = time.monotonic()
    with stream() as kept:
        lines = kept.iter_lines()
        next(lines)
        with stream() as closed:
            closed_lines = closed.iter_lines()  # keep a reference: the stream is closed without one
            next(closed_lines)
            waiting.until(
                lambda: total(servers, IN_FLIGHT) == total(routers, ROUTER_IN_FLIGHT) == 2
            )
        waiting.until(lambda: total(servers, IN_FLIGHT) == 1 == total(routers, ROUTER_IN_FLIGHT))
        noticed = time.monotonic()
        *_, last = filter(None, lines)
        ended = time.monotonic()
    assert last == "data: [DONE]"
    assert ended - noticed > (ended - sent) / 10, "it ended with the other one"
    waiting.until(lambda: total(servers, IN_FLIGHT) == 0 == total(routers, ROUTER_IN_FLIGHT))


def test_a_disconnect_before_the_response(edge: Edge, fleet: Fleet) -> None:
    servers, routers = fleet.pods(of_model("smollm2")), fleet.pods(ROUTERS)

    def disconnects() -> float:
        return total(servers, "modelfleet_requests_total", 'code="499"')

    before = disconnects()
    body = json.dumps(LONG_CHAT).encode()
    host, _, port = edge.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=60) as client:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {edge.host}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body)
        waiting.until(lambda: total(servers, IN_FLIGHT) == 1)
    waiting.until(lambda: total(servers, IN_FLIGHT) == 0 == total(routers, ROUTER_IN_FLIGHT))
    waiting.until(lambda: disconnects() == before + 1)


def padded(speech_wav: bytes, size: int) -> bytes:
    """A WAV file of `size` bytes that ends with a recording, after silence: eight channels of 32
    bits, with eight times the sample rate.
    """
    with wave.open(io.BytesIO(speech_wav)) as source:
        rate = source.getframerate()
        samples = array.array("h", source.readframes(source.getnframes()))
    frame = 8 * 4
    sound = b"".join((sample << 16).to_bytes(4, "little", signed=True) * 64 for sample in samples)
    made = io.BytesIO()
    with wave.open(made, "wb") as target:
        target.setparams((8, 4, rate * 8, 0, "NONE", ""))
        target.writeframes(bytes((size - len(sound)) // frame * frame) + sound)
    return made.getvalue()
