"""Requests that end early count against the limits of their key, for each kind of task."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from support.waiting import until

LIMITS = {"tokensPerMinute": 100, "audioSecondsPerMinute": 10, "imagesPerMinute": 10}
KEYS = ("stream", "chat", "embeddings", "speech", "timeout", "cut")


class Metered:
    """A router, and what its usage log has of one key."""

    def __init__(self, fleet: Any, stub: Any, log: Path, key: str) -> None:
        self.fleet, self.stub, self._log, self._key = fleet, stub, log, key

    def headers(self, plan: dict[str, Any], identifier: str = "") -> dict[str, str]:
        return {
            "authorization": f"Bearer {self._key}", "x-plan": json.dumps(plan), "x-id": identifier,
        }  # fmt: skip

    def leave(self, path: str, plan: dict[str, Any], pieces: int, **body: Any) -> dict[str, Any]:
        """Send a request and disconnect after so many chunks; its line in the usage log."""
        identifier = uuid.uuid4().hex
        headers = self.headers(plan, identifier)
        if not pieces:
            with self.fleet.sending(path, headers=headers, **body):
                self.stub.await_body(identifier)
        else:
            url = self.fleet.url + path
            with httpx.stream("POST", url, headers=headers, **body) as got:
                stream = got.iter_raw()
                for _ in range(pieces):
                    self.stub.step(identifier)
                    next(stream)
        return self.line()

    def line(self) -> dict[str, Any]:
        """The first line of the usage log, waited for."""
        until(self._lines)
        return self._lines()[0]

    def _lines(self) -> list[dict[str, Any]]:
        lines = map(json.loads, self._log.read_text().splitlines())
        return [line for line in lines if line["key"] == self._key]

    def refused(self, path: str, **body: Any) -> str:
        answer = httpx.post(self.fleet.url + path, headers=self.headers({}), **body)
        assert answer.status_code == 429, answer.text
        return str(answer.json()["error"]["message"])


@pytest.fixture(scope="module")
def metered_fleet(
    start_router: Any, entry: Any, stub: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Metered]]:
    """A router with a key for each test."""
    folder = tmp_path_factory.mktemp("meter")
    keys = [
        {"name": key, "sha256": hashlib.sha256(key.encode()).hexdigest(), "limits": LIMITS}
        for key in KEYS
    ]
    file, log = folder / "keys.yaml", folder / "usage.jsonl"
    file.write_text(yaml.safe_dump({"keys": keys}))
    models = [
        entry("acme/chat", "chat", stub.port),
        entry("acme/hasty", "chat", stub.port, limits={"requestTimeout": 0.5}),
        entry("acme/embed", "embedding", stub.port),
        entry("acme/speech", "speech", stub.port),
    ]
    with start_router(folder, models, {"KEYS_FILE": str(file), "USAGE_LOG": str(log)}) as fleet:
        yield lambda key: Metered(fleet, stub, log, key)


def piece(text: str) -> str:
    return "data: " + json.dumps({"choices": [{"delta": {"content": text}}]}) + "\n\n"


def test_who_leaves_a_stream_pays_for_what_was_sent(metered_fleet: Any) -> None:
    metered = metered_fleet("stream")
    plan = {"pieces": [piece("x")] * 200, "step": True}
    body = {"model": "acme/chat", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    line = metered.leave("/v1/chat/completions", plan, 120, json=body)
    assert line["status"] == 499
    assert line["completion_tokens"] == 120
    assert 10 <= line["prompt_tokens"] <= 30
    assert line["estimated"]
    assert "tokens per minute" in metered.refused("/v1/chat/completions", json=body)


def test_who_leaves_before_the_response_pays_for_the_prompt(metered_fleet: Any) -> None:
    metered = metered_fleet("chat")
    image = {"type": "image_url", "image_url": {"url": "data:," + "x" * 10_000}}
    messages = [{"role": "user", "content": [image, {"type": "text", "text": "y" * 4000}]}]
    body = {"model": "acme/chat", "messages": messages}
    line = metered.leave("/v1/chat/completions", {"delay": 600}, 0, json=body)
    assert 1000 <= line["prompt_tokens"] <= 1100
    assert line["images"] == 1
    assert "tokens per minute" in metered.refused("/v1/chat/completions", json=body)


def test_embeddings_that_nobody_reads_are_charged(metered_fleet: Any) -> None:
    metered = metered_fleet("embeddings")
    body = {"model": "acme/embed", "input": "x" * 4000}
    line = metered.leave("/v1/embeddings", {"delay": 600}, 0, json=body)
    assert 1000 <= line["prompt_tokens"] <= 1020
    assert "tokens per minute" in metered.refused("/v1/embeddings", json=body)


def test_recordings_that_nobody_waits_for_are_charged(metered_fleet: Any) -> None:
    metered = metered_fleet("speech")
    form = {"data": {"model": "acme/speech"}, "files": {"file": b"x" * 640_000}}
    line = metered.leave("/v1/audio/transcriptions", {"delay": 600}, 0, **form)
    assert line["audio_seconds"] == pytest.approx(20, abs=0.2)
    assert "seconds of audio" in metered.refused("/v1/audio/transcriptions", **form)


def test_a_request_that_times_out_pays_for_the_prompt(metered_fleet: Any) -> None:
    metered = metered_fleet("timeout")
    body = {"model": "acme/hasty", "messages": [{"role": "user", "content": "y" * 4000}]}
    answer = httpx.post(
        f"{metered.fleet.url}/v1/chat/completions", json=body,
        headers=metered.headers({"delay": 600}),
    )  # fmt: skip
    assert answer.status_code == 504
    line = metered.line()
    assert (line["status"], line["estimated"]) == (504, True)
    assert line["prompt_tokens"] >= 1000


def test_a_stream_that_breaks_off_is_charged(metered_fleet: Any) -> None:
    metered = metered_fleet("cut")
    body = {"model": "acme/chat", "stream": True, "messages": []}
    plan = {"pieces": [piece("x")] * 30, "cut": True}
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.post(
            f"{metered.fleet.url}/v1/chat/completions", json=body, headers=metered.headers(plan)
        )
    line = metered.line()
    assert (line["status"], line["completion_tokens"]) == (502, 30)
