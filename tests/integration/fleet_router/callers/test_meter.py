"""Requests that end early count against the limits of their key, for each kind of task."""

from __future__ import annotations

import hashlib
import json
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from support.waiting import until

KEY = "modelfleet"
LIMITS = {"tokensPerMinute": 100, "audioSecondsPerMinute": 10, "imagesPerMinute": 10}


class Metered:
    """A router with a key, and the lines of its usage log."""

    def __init__(self, fleet: Any, stub: Any, log: Path) -> None:
        self.fleet, self.stub, self._log = fleet, stub, log

    def leave(self, path: str, plan: dict[str, Any], pieces: int, **body: Any) -> dict[str, Any]:
        """Send a request and disconnect after so many chunks; the line of the usage log."""
        before = len(self.lines())
        identifier = uuid.uuid4().hex
        headers = {"authorization": f"Bearer {KEY}", "x-plan": json.dumps(plan), "x-id": identifier}
        with httpx.Client(timeout=30) as client:
            if not pieces:
                with pytest.raises(httpx.ReadTimeout):
                    client.post(self.fleet.url + path, headers=headers, timeout=0.5, **body)
            else:
                with client.stream("POST", self.fleet.url + path, headers=headers, **body) as got:
                    stream = got.iter_raw()
                    for _ in range(pieces):
                        self.stub.step(identifier)
                        next(stream)
        until(lambda: len(self.lines()) > before, state=self.lines)
        return self.lines()[-1]

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._log.read_text().splitlines()]

    def refused(self, path: str, **body: Any) -> str:
        answer = httpx.post(
            self.fleet.url + path, headers={"authorization": f"Bearer {KEY}"}, **body
        )
        assert answer.status_code == 429, answer.text
        return str(answer.json()["error"]["message"])


@pytest.fixture
def metered(start_router: Any, entry: Any, stub: Any, tmp_path: Path) -> Any:
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    keys = tmp_path / "keys.yaml"
    keys.write_text(yaml.safe_dump({"keys": [{"name": "a", "sha256": digest, "limits": LIMITS}]}))
    log = tmp_path / "usage.jsonl"
    models = [
        entry("acme/chat", "chat", stub.port, limits={"requestTimeout": 1}),
        entry("acme/embed", "embedding", stub.port),
        entry("acme/speech", "speech", stub.port),
    ]
    with start_router(tmp_path, models, {"KEYS_FILE": str(keys), "USAGE_LOG": str(log)}) as fleet:
        yield Metered(fleet, stub, log)


def piece(text: str) -> str:
    return "data: " + json.dumps({"choices": [{"delta": {"content": text}}]}) + "\n\n"


def test_who_leaves_a_stream_pays_for_what_was_sent(metered: Metered) -> None:
    plan = {"pieces": [piece("x")] * 200, "step": True}
    body = {"model": "acme/chat", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    line = metered.leave("/v1/chat/completions", plan, 120, json=body)
    assert line["status"] == 499
    assert line["completion_tokens"] == 120
    assert 10 <= line["prompt_tokens"] <= 30
    assert line["estimated"]
    assert "tokens per minute" in metered.refused("/v1/chat/completions", json=body)


def test_who_leaves_before_the_response_pays_for_the_prompt(metered: Metered) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:," + "x" * 10_000}}
    messages = [{"role": "user", "content": [image, {"type": "text", "text": "y" * 4000}]}]
    body = {"model": "acme/chat", "messages": messages}
    line = metered.leave("/v1/chat/completions", {"delay": 30}, 0, json=body)
    assert 1000 <= line["prompt_tokens"] <= 1100
    assert line["images"] == 1
    assert "tokens per minute" in metered.refused("/v1/chat/completions", json=body)


def test_embeddings_that_nobody_reads_are_charged(metered: Metered) -> None:
    body = {"model": "acme/embed", "input": "x" * 4000}
    line = metered.leave("/v1/embeddings", {"delay": 30}, 0, json=body)
    assert 1000 <= line["prompt_tokens"] <= 1020
    assert "tokens per minute" in metered.refused("/v1/embeddings", json=body)


def test_recordings_that_nobody_waits_for_are_charged(metered: Metered) -> None:
    form = {"data": {"model": "acme/speech"}, "files": {"file": b"x" * 640_000}}
    line = metered.leave("/v1/audio/transcriptions", {"delay": 30}, 0, **form)
    assert line["audio_seconds"] == pytest.approx(20, abs=0.2)
    assert "seconds of audio" in metered.refused("/v1/audio/transcriptions", **form)


def test_a_request_that_times_out_pays_for_the_prompt(metered: Metered) -> None:
    body = {"model": "acme/chat", "messages": [{"role": "user", "content": "y" * 4000}]}
    headers = {"authorization": f"Bearer {KEY}", "x-plan": json.dumps({"delay": 30})}
    answer = httpx.post(
        f"{metered.fleet.url}/v1/chat/completions", json=body, headers=headers, timeout=30
    )
    assert answer.status_code == 504
    until(metered.lines, state=metered.lines)
    line = metered.lines()[-1]
    assert (line["status"], line["estimated"]) == (504, True)
    assert line["prompt_tokens"] >= 1000


def test_a_stream_that_breaks_off_is_charged(metered: Metered) -> None:
    body = {"model": "acme/chat", "stream": True, "messages": []}
    plan = {"pieces": [piece("x")] * 30, "cut": True}
    headers = {"authorization": f"Bearer {KEY}", "x-plan": json.dumps(plan)}
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.post(f"{metered.fleet.url}/v1/chat/completions", json=body, headers=headers)
    until(lambda: metered.lines(), state=metered.lines)
    assert (metered.lines()[-1]["status"], metered.lines()[-1]["completion_tokens"]) == (502, 30)
