"""Keys, limits and metering, through a real router."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from fleet_contract.errors import RateLimited
from fleet_router.callers.keys import Key, KeyLimits, parse
from fleet_router.callers.quota import Quota
from fleet_router.callers.usage import NO_USAGE, Tail, Usage

USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18,
         "prompt_tokens_details": {"cached_tokens": 4}}  # fmt: skip
SAID = Usage(11, 4, 7)


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


def test_minutes_slide_and_debts_are_paid_back() -> None:
    clock = Clock()
    one = quota(clock, tokens_per_minute=60)
    one.admit(0)
    one.release(Usage(prompt_tokens=100, completion_tokens=20))
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
    one.release(Usage(audio_seconds=45))
    with pytest.raises(RateLimited, match="seconds of audio"):
        one.admit(0)


@pytest.mark.parametrize(
    ("text", "said"),
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
def test_a_broken_file_says_where_and_no_secret(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
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
         Usage(audio_seconds=3.0)),
        ([b'{"usage": {"input_tokens": 5, "output_tokens": 2}}'], Usage(5, 0, 2)),
        ([b'{"text": "say \\"usage\\": {\\"prompt_tokens\\": 9}"}'], NO_USAGE),
        ([b'{"usage": {"prompt_tokens": "many", "completion_tokens": -1}}'], NO_USAGE),
        ([b'{"usage": {broken}}'], NO_USAGE),
        ([], NO_USAGE),
    ],
)  # fmt: skip
def test_usage_is_read_from_the_end(pieces: list[bytes], usage: Usage) -> None:
    tail = Tail()
    for piece in pieces:
        tail.add(piece)
    assert tail.usage() == usage
