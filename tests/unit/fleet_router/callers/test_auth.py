"""Keys, limits and metering, through a real router."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from fleet_contract.errors import Forbidden, RateLimited, Unauthorized
from fleet_router.callers.auth import Auth
from fleet_router.callers.keys import Key, KeyLimits, parse
from fleet_router.callers.quota import Quota
from fleet_router.callers.request_record import RequestRecord
from fleet_router.callers.usage import NO_USAGE, RequestUsage, Tail
from support.waiting import until_async

USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18,
         "prompt_tokens_details": {"cached_tokens": 4}}  # fmt: skip
SAID = RequestUsage(11, 4, 7)


def hashed(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def entry_of(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "sha256": hashed(f"sk-{name}"), **more}


def written(path: Path, *keys: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump({"keys": list(keys)}))
    return path


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def quota(clock: Clock, **limits: int) -> Quota:
    key = Key(name="k", sha256="0" * 64, limits=KeyLimits.model_validate(limits))
    return Quota(key, clock)


def test_tokens_above_the_limit_delay_later_requests() -> None:
    clock = Clock()
    one = quota(clock, tokens_per_minute=60)
    one.admit(0)
    one.release(RequestUsage(prompt_tokens=100, completion_tokens=20))
    with pytest.raises(RateLimited) as caught:
        one.admit(0)
    assert caught.value.retry_after == pytest.approx(61)
    clock.now += 62
    one.admit(0)


def test_running_requests_are_bounded_and_counted_down() -> None:
    one = quota(Clock(), concurrent_requests=2)
    one.admit(0)
    one.admit(0)
    with pytest.raises(RateLimited, match="2 concurrent requests"):
        one.admit(0)
    one.release(NO_USAGE)
    one.admit(0)
    assert one.headers() == []


def test_audio_is_charged_by_the_second() -> None:
    clock = Clock()
    one = quota(clock, audio_seconds_per_minute=30)
    one.admit(0)
    one.release(RequestUsage(audio_seconds=45))
    with pytest.raises(RateLimited, match="seconds of audio"):
        one.admit(0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("keys: [", "line 1"),
        ("[]", "file"),
        ("[" * 10_000, "nested too deeply"),
        ("keys: " + "{a: " * 10_000, "nested too deeply"),
        ("keys: [{name: a}]", "keys.0.sha256"),
        ("keys: [{name: a, sha256: SECRET}]", "keys.0.sha256"),
        (f"keys: [{{name: a b, sha256: '{'0' * 64}'}}]", "keys.0.name"),
        (f"keys: [{{name: a, sha256: '{'0' * 64}', limits: {{requestsPerMinute: 0}}}}]", "limits"),
        (f"keys: [{{name: a, sha256: '{'0' * 64}', limit: {{}}}}]", "limit"),
        (f"keys: [{{name: a, sha256: '{'0' * 64}'}}, {{name: a, sha256: '{'1' * 64}'}}]", "twice"),
        (f"keys: [{{name: a, sha256: '{'0' * 64}'}}, {{name: b, sha256: '{'0' * 64}'}}]", "'a'"),
    ],
)
def test_errors_of_a_broken_file_name_the_place_but_no_secret(text: str, expected: str) -> None:
    with pytest.raises(ValueError, match=expected) as caught:
        parse(text)
    assert "SECRET" not in str(caught.value)
    assert "000" not in str(caught.value)


@pytest.mark.parametrize(
    ("pieces", "usage"),
    [
        ([b'{"choices": [], "usage": ' + json.dumps(USAGE).encode() + b"}"], SAID),
        ([b"x" * 9000, b'"usage":', json.dumps(USAGE).encode()[:20],
          json.dumps(USAGE).encode()[20:], b"}\n"], SAID),
        ([b'data: {"usage": null}\n\n', b"data: [DONE]\n\n"], NO_USAGE),
        ([b'{"text": "a", "usage": {"type": "duration", "seconds": 3}}'],
         RequestUsage(audio_seconds=3.0)),
        ([b'{"usage": {"input_tokens": 5, "output_tokens": 2}}'], RequestUsage(5, 0, 2)),
        ([b'{"text": "say \\"usage\\": {\\"prompt_tokens\\": 9}"}'], NO_USAGE),
        ([b'{"usage": {"prompt_tokens": "many", "completion_tokens": -1}}'], NO_USAGE),
        ([b'{"usage": {broken}}'], NO_USAGE),
        ([b'data: {"usage": {"prompt_tokens": 1, "completion_tokens": 1}}\n\n',
          b'data: {"usage": ' + json.dumps(USAGE).encode() + b"}\n\n"], SAID),
        ([], NO_USAGE),
    ],
)  # fmt: skip
def test_usage_is_read_from_the_end(pieces: list[bytes], usage: RequestUsage) -> None:
    tail = Tail()
    for piece in pieces:
        tail.add(piece)
    assert tail.usage() == usage


def loaded(path: Path, *keys: dict[str, Any]) -> Auth:
    auth = Auth(written(path, *keys))
    auth.load()
    return auth


def identified(auth: Auth, name: str) -> Quota:
    quota = auth.identify([(b"x-api-key", f"sk-{name}".encode())])
    assert quota is not None
    return quota


@pytest.mark.parametrize(
    "headers",
    [
        [(b"authorization", b"Bearer sk-a")],
        [(b"authorization", b"bearer  sk-a ")],
        [(b"x-api-key", b"sk-a")],
        [(b"authorization", b"Basic dTpw"), (b"x-api-key", b" sk-a ")],
        [(b"authorization", b"Bearer "), (b"x-api-key", b"sk-a")],
        [(b"x-api-key", b"sk-wrong"), (b"authorization", b"Bearer sk-a")],
    ],
)
def test_a_key_is_read_in_each_spelling(tmp_path: Path, headers: list[tuple[bytes, bytes]]) -> None:
    quota = loaded(tmp_path / "keys.yaml", entry_of("a")).identify(headers)
    assert quota is not None
    assert quota.key.name == "a"


@pytest.mark.parametrize("headers", [[], [(b"authorization", b"Basic sk-a")], [(b"api", b"sk-a")]])
def test_a_request_without_a_key_is_refused(
    tmp_path: Path, headers: list[tuple[bytes, bytes]]
) -> None:
    auth = loaded(tmp_path / "keys.yaml", entry_of("a"))
    with pytest.raises(Unauthorized) as caught:
        auth.identify(headers)
    assert caught.value.code == "missing_api_key"


@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError, GeneratorExit])
def test_a_failed_request_does_not_count_as_running(
    tmp_path: Path, error: type[BaseException]
) -> None:
    auth = loaded(tmp_path / "keys.yaml", entry_of("a", limits={"concurrentRequests": 1}))
    quota = identified(auth, "a")
    for _ in range(2):
        with pytest.raises(error), auth.admitted(quota, "m", 0, RequestRecord()):
            raise error
        assert quota.running == 0


def test_a_refused_request_does_not_count_as_running(tmp_path: Path) -> None:
    auth = loaded(
        tmp_path / "keys.yaml",
        entry_of("a", models=["m"], limits={"concurrentRequests": 1, "imagesPerMinute": 1}),
    )
    quota = identified(auth, "a")
    with pytest.raises(Forbidden), auth.admitted(quota, "other", 0, RequestRecord()):
        raise AssertionError
    with pytest.raises(RateLimited), auth.admitted(quota, "m", 2, RequestRecord()):
        raise AssertionError
    assert quota.running == 0


def test_running_requests_stay_counted_when_limits_change(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    auth = loaded(path, entry_of("a", limits={"concurrentRequests": 2}))
    with auth.admitted(identified(auth, "a"), "m", 0, RequestRecord()) as _:
        record = RequestRecord(usage=RequestUsage(prompt_tokens=100))
        with auth.admitted(identified(auth, "a"), "m", 0, record):
            written(path, entry_of("a", limits={"concurrentRequests": 2, "tokensPerMinute": 50}))
            auth.load()
            with pytest.raises(RateLimited, match="2 concurrent requests"):
                identified(auth, "a").admit(0)
        # The request that ended is charged to the limit that is in force now.
        with pytest.raises(RateLimited, match="50 tokens per minute"):
            identified(auth, "a").admit(0)
    assert identified(auth, "a").running == 0


def test_usage_is_kept_when_other_fields_change(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    auth = loaded(path, entry_of("a", limits={"requestsPerMinute": 1}))
    identified(auth, "a").admit(0)
    written(path, entry_of("a", models=["m"], limits={"requestsPerMinute": 1}))
    auth.load()
    assert identified(auth, "a").key.models == ["m"]
    with pytest.raises(RateLimited, match="1 requests per minute"):
        identified(auth, "a").admit(0)


@pytest.mark.parametrize("watched", [False, True])
async def test_a_changed_file_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, watched: bool
) -> None:
    monkeypatch.setattr("fleet_router.callers.auth.POLL_SECONDS", 0)
    path = tmp_path / "keys.yaml"
    auth = loaded(path, entry_of("a"))
    written(path, entry_of("a"), entry_of("another"))
    if watched:
        task = asyncio.create_task(auth.watch())
        await until_async(lambda: "another" in auth._quotas)
        task.cancel()
        await asyncio.wait((task,))
    else:
        auth.refresh()
    assert identified(auth, "another").key.name == "another"


async def test_the_file_is_not_read_in_every_turn_of_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    auth = loaded(tmp_path / "keys.yaml", entry_of("a"))
    reads = 0

    def refresh() -> None:
        nonlocal reads
        reads += 1

    monkeypatch.setattr(auth, "refresh", refresh)
    task = asyncio.create_task(auth.watch())
    for _ in range(100):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait((task,))
    assert reads <= 1


def test_a_broken_file_leaves_the_keys_as_they_were(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "keys.yaml"
    auth = loaded(path, entry_of("a"))
    path.write_text("keys: [")
    auth.refresh()
    auth.refresh()  # the same content is not an error again
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    path.unlink()
    auth.refresh()
    assert identified(auth, "a").key.name == "a"
    written(path, entry_of("other"))
    auth.refresh()
    assert identified(auth, "other").key.name == "other"
    with pytest.raises(Unauthorized):
        identified(auth, "a")


@pytest.mark.parametrize("name", [field.alias for field in KeyLimits.model_fields.values()])
def test_a_limit_is_at_least_one(tmp_path: Path, name: str) -> None:
    for number in (1, 0):
        raw = written(tmp_path / "keys.yaml", entry_of("a", limits={name: number})).read_bytes()
        if number:
            parse(raw)
        else:
            with pytest.raises(ValueError, match=name):
                parse(raw)
