"""Keys, limits and the usage log of a running router."""

from __future__ import annotations

import hashlib
import json
import signal
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from fleet_router.callers.usage import RequestUsage
from support.waiting import until

USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18,
         "prompt_tokens_details": {"cached_tokens": 4}}  # fmt: skip

COST = (7 * 10 + 4 * 1 + 7 * 100) / 1e6
"""Of USAGE, by the price of acme/chat."""


SAID = RequestUsage(11, 4, 7)


def hashed(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def entry_of(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "sha256": hashed(f"sk-{name}"), **more}


def written(path: Path, *keys: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump({"keys": list(keys)}))
    return path


def ask(
    fleet: Any, key: str | None, model: str | None = "acme/chat", plan: Any = None, **body: Any
) -> httpx.Response:
    login = {"authorization": f"Bearer sk-{key}"} if key else {}
    return httpx.post(
        f"{fleet.url}/v1/chat/completions", json={"model": model, "messages": [], **body},
        headers={"x-plan": json.dumps(plan or {}), **login},
    )  # fmt: skip


def read_in_steps(fleet: Any, stub: Any, key: str, pieces: list[str]) -> None:
    """A stream whose pieces are sent one by one, each after the last one was read."""
    identifier = uuid.uuid4().hex
    headers = {
        "authorization": f"Bearer sk-{key}", "x-id": identifier,
        "x-plan": json.dumps({"pieces": pieces, "step": True}),
    }  # fmt: skip
    url = f"{fleet.url}/v1/chat/completions"
    with httpx.stream("POST", url, json={"model": "acme/chat"}, headers=headers) as answer:
        stream = answer.iter_raw()
        for piece in pieces:
            stub.step(identifier)
            assert next(stream) == piece.encode()
        assert next(stream, b"") == b""


def test_only_known_keys_come_in_and_only_to_their_models(
    start_router: Any, entry: Any, stub: Any, tmp_path: Path
) -> None:
    keys = written(
        tmp_path / "keys.yaml", entry_of("all"), entry_of("some", models=["acme/ch*", "x"])
    )
    lora = [{"name": "sql", "source": "file:///sql"}]
    models = [
        entry("acme/chat", "chat", stub.port, aliases=["mine"], adapters=lora),
        entry("other/chat", "chat", stub.port, aliases=["theirs"], adapters=lora),
    ]
    with start_router(tmp_path, models, {"KEYS_FILE": str(keys)}) as fleet:
        missing = ask(fleet, None)
        assert (missing.status_code, missing.json()["error"]["code"]) == (401, "missing_api_key")
        assert missing.headers["www-authenticate"] == "Bearer"
        wrong = ask(fleet, "wrong")
        assert (wrong.status_code, wrong.json()["error"]["code"]) == (401, "invalid_api_key")
        assert ask(fleet, "all", "other/chat").status_code == 200
        assert ask(fleet, "some").status_code == 200
        refused = ask(fleet, "some", "other/chat")
        assert (refused.status_code, refused.json()["error"]["type"]) == (403, "permission_error")
        assert ask(fleet, "some", "mine").status_code == 200
        assert ask(fleet, "some", "theirs").status_code == 403
        assert ask(fleet, "some", "acme/chat:sql").status_code == 200
        for name in ("other/chat:sql", "theirs:sql"):
            assert ask(fleet, "some", name).status_code == 403
        url = f"{fleet.url}/v1/models"
        assert httpx.get(url).status_code == 401
        listed = httpx.get(url, headers={"x-api-key": "sk-some"}).json()["data"]
        assert [each["id"] for each in listed] == ["acme/chat", "acme/chat:sql"]
        for name in ("other/chat", "other/chat:sql"):
            one = httpx.get(f"{url}/{name}", headers={"x-api-key": "sk-some"})
            assert one.status_code == 404
            assert "acme/chat" in one.text
        assert "has 'acme/chat'." in ask(fleet, "some", "none").text
        assert ask(fleet, "some", None).headers["x-modelfleet-model"] == "acme/chat"
        assert httpx.get(f"{fleet.url}/readyz").status_code == 200
        fleet.await_metric("modelfleet_router_requests_total", 9, key="some")
        assert not [line for line in fleet.process.lines if "sk-" in line]


def test_a_fallback_needs_the_key_as_well(
    start_router: Any, entry: Any, stub: Any, tmp_path: Path
) -> None:
    keys = written(tmp_path / "keys.yaml", entry_of("all"), entry_of("some", models=["acme/cold"]))
    models = [
        entry("acme/cold", "chat", fallback="other/chat"), entry("other/chat", "chat", stub.port)
    ]  # fmt: skip
    environ = {"KEYS_FILE": str(keys), "HOLD_SECONDS": "0.2"}
    with start_router(tmp_path, models, environ) as fleet:
        assert ask(fleet, "all", "acme/cold").headers["x-modelfleet-model"] == "other/chat"
        refused = ask(fleet, "some", "acme/cold")
        assert refused.status_code == 503
        assert "other/chat" not in refused.text + str(refused.headers)


def test_keys_are_renewed_without_a_restart_and_a_broken_file_keeps_them(
    start_router: Any, entry: Any, stub: Any, tmp_path: Path
) -> None:
    keys = written(tmp_path / "keys.yaml", entry_of("old"))
    models = [entry("acme/chat", "chat", stub.port)]
    with start_router(tmp_path, models, {"KEYS_FILE": str(keys)}) as fleet:
        assert ask(fleet, "old").status_code == 200
        written(keys, entry_of("new"))
        fleet.await_line("keys_loaded")
        assert ask(fleet, "old").status_code == 401
        assert ask(fleet, "new").status_code == 200
        keys.write_text("keys: {")
        fleet.await_line("keys_not_reloaded")
        assert ask(fleet, "new").status_code == 200
        keys.write_text("[" * 10_000)  # too deep for the parser
        fleet.await_line("nested too deeply")
        written(keys, entry_of("last"))
        until(lambda: ask(fleet, "last").status_code == 200)
        assert ask(fleet, "new").status_code == 401


def test_limits_are_reported_and_enforced(
    start_router: Any, entry: Any, stub: Any, tmp_path: Path
) -> None:
    keys = written(
        tmp_path / "keys.yaml",
        entry_of("few", limits={"requestsPerMinute": 3, "tokensPerMinute": 100}),
        entry_of("tokens", limits={"tokensPerMinute": 20}),
        entry_of("images", limits={"imagesPerMinute": 1}),
    )
    models = [entry("acme/chat", "chat", stub.port)]
    with start_router(tmp_path, models, {"KEYS_FILE": str(keys)}) as fleet:
        answers = []
        for number in range(1, 5):
            answers.append(ask(fleet, "few", plan={"usage": USAGE}))
            # Its usage is charged after its last byte was sent.
            fleet.await_metric("modelfleet_router_requests_total", number, key="few")
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert answers[0].headers["x-ratelimit-limit-requests"] == "3"
        assert [answer.headers["x-ratelimit-remaining-requests"] for answer in answers] == [
            "2", "1", "0", "0",
        ]  # fmt: skip
        assert answers[0].headers["x-ratelimit-remaining-tokens"] == "100"
        assert 82 <= int(answers[1].headers["x-ratelimit-remaining-tokens"]) < 100
        error = answers[3].json()["error"]
        assert (error["code"], error["type"]) == ("rate_limit_exceeded", "rate_limit_error")
        assert 1 <= int(answers[3].headers["retry-after"]) <= 20

        statuses = []
        for number in range(1, 4):
            statuses.append(ask(fleet, "tokens", plan={"usage": USAGE}).status_code)
            fleet.await_metric("modelfleet_router_requests_total", number, key="tokens")
        assert statuses == [200, 200, 429]

        part = {"type": "image_url", "image_url": {"url": "data:,x"}}
        seen = [{"role": "user", "content": [part]}]
        assert ask(fleet, "images", messages=seen).status_code == 200
        assert ask(fleet, "images", messages=seen).status_code == 429
        assert ask(fleet, "images").status_code == 200
        fleet.await_metric("modelfleet_router_images_total", 1, key="images")


def test_what_was_used_is_counted_and_written_down(
    start_router: Any, entry: Any, stub: Any, tmp_path: Path
) -> None:
    keys = written(tmp_path / "keys.yaml", entry_of("a"), entry_of("b"))
    log = tmp_path / "usage.jsonl"
    price = {"currency": "EUR", "input": 10, "cachedInput": 1, "output": 100, "hour": 0.5}
    models = [
        entry("acme/chat", "chat", stub.port, price=price),
        entry("acme/speech", "speech", stub.port, price={"audioMinute": 2}),
    ]
    environ = {"KEYS_FILE": str(keys), "USAGE_LOG": str(log)}
    comment = f": usage {json.dumps(USAGE)}\n\n"
    event = f"data: {json.dumps({'choices': [], 'usage': USAGE})}\n\n"
    with start_router(tmp_path, models, environ) as fleet:
        ask(fleet, "a", plan={"usage": USAGE})
        for end in (event, comment):
            read_in_steps(fleet, stub, "b", ["data: {}\n\n"] * 5 + [end, "data: [DONE]\n\n"])
        httpx.post(
            f"{fleet.url}/v1/audio/transcriptions",
            headers={"authorization": "bearer sk-a", "x-plan": '{"told": {"seconds": 9}}'},
            data={"model": "acme/speech"}, files={"file": b"x"},
        )  # fmt: skip
        tokens = "modelfleet_router_tokens_total"
        fleet.await_metric(tokens, 11, key="a", kind="prompt")
        fleet.await_metric(tokens, 14, key="b", kind="completion")
        fleet.await_metric(tokens, 8, key="b", kind="cached")
        fleet.await_metric("modelfleet_router_audio_seconds_total", 9, key="a")
        fleet.await_metric("modelfleet_router_cost_total", 0.3, key="a", currency="USD")
        until(
            lambda: (
                fleet.metric("modelfleet_router_cost_total", currency="EUR")
                == pytest.approx(3 * COST)
            )
        )
        hour = "modelfleet_router_servers_price_per_hour"
        fleet.await_metric(hour, 0.5, model="acme/chat", currency="EUR")
        fleet.await_metric("modelfleet_router_first_byte_seconds_count", 4)
        fleet.await_metric("modelfleet_router_between_pieces_seconds_count", 2)
        moved = log.with_name("moved")
        until(lambda: log.read_text().count("\n") == 4)
        log.rename(moved)
        fleet.process.send_signal(signal.SIGHUP)
        ask(fleet, "b")
        until(log.exists)
        assert fleet.process.poll() is None
    assert json.loads(log.read_text())["key"] == "b"
    lines = [json.loads(line) for line in moved.read_text().splitlines()]
    assert [(line["key"], line["completion_tokens"]) for line in lines] == [
        ("a", 7), ("b", 7), ("b", 7), ("a", 0),
    ]  # fmt: skip
    assert lines[3]["audio_seconds"] == 9
    assert [(line["cost"], line["currency"]) for line in lines] == [
        (COST, "EUR"), (COST, "EUR"), (COST, "EUR"), (0.3, "USD"),
    ]  # fmt: skip
    assert all(line["request_id"] and line["status"] == 200 for line in lines)
