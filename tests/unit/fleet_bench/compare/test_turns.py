"""Rounds and responses of two sides, on a real server with the API of OpenAI."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from fleet_bench.compare.cases import Cases
from fleet_bench.compare.errors import CannotCompare
from fleet_bench.compare.load import RequestLoad
from fleet_bench.compare.sides.side import Side
from fleet_bench.compare.turns import Pair, agree, failure_hint, measure
from fleet_bench.recordings import AudioFile

CASES = Cases(("Why?", "How?"), ("one", "two"), (AudioFile("a.wav", b"RIFF"),), False, False)
LOAD = RequestLoad(
    requests=3, concurrency=1, rounds=2, warmup=1, max_tokens=5, batch=2, language=None, timeout=10
)


def pair(target: Any) -> Pair:
    return Pair(Side("left", target.url, "a"), Side("right", target.url, "b"))


@pytest.mark.parametrize(
    ("task", "figure"),
    [("chat", "tokens generated"), ("embedding", "inputs embedded"), ("speech", "speech")],
)
async def test_rounds_alternate_between_the_sides(target: Any, task: str, figure: str) -> None:
    ticks: list[str] = []
    rows = await measure(pair(target), task, CASES, LOAD, ticks.append)
    assert ticks == [
        "warm-up of left", "warm-up of right",
        "round 1 of 2, left", "round 1 of 2, right", "round 2 of 2, left", "round 2 of 2, right",
    ]  # fmt: skip
    models = [body["model"] for body in target.bodies]
    assert models == ["a", "b", *["a"] * 3, *["b"] * 3, *["a"] * 3, *["b"] * 3]
    assert figure in [row.name for row in rows]
    assert all(len(row.a.values) == len(row.b.values) == 2 for row in rows)


async def test_both_sides_get_the_same_texts_and_each_round_different_ones(target: Any) -> None:
    await measure(pair(target), "embedding", CASES, LOAD, lambda text: None)
    texts = [tuple(body["input"]) for body in target.bodies[2:]]
    assert texts[:3] == texts[3:6]
    assert texts[6:9] == texts[9:]
    assert len({text for each in texts for text in each}) == 2 * 3 * 2


async def test_custom_prompts_are_measured(target: Any) -> None:
    own = dataclasses.replace(CASES, own_prompts=True)
    await measure(pair(target), "chat", own, LOAD, lambda text: None)
    prompts = {body["messages"][0]["content"] for body in target.bodies}
    assert prompts == {"Why?", "How?"}


async def test_a_failed_request_ends_the_comparison(target: Any) -> None:
    target.mode = "busy"
    with pytest.raises(CannotCompare, match=r"left failed 1 of 1 requests: HTTP 429 queue_full"):
        await measure(pair(target), "chat", CASES, LOAD, lambda text: None)
    with pytest.raises(CannotCompare, match="HTTP 429"):
        await agree(pair(target), "chat", CASES, LOAD, lambda text: None)


@pytest.mark.parametrize(
    ("reasons", "words"),
    [
        (["HTTP 404 model_not_found"], "--b-model"),
        (["HTTP 401 invalid_api_key"], "--api-key-env"),
        (["HTTP 400 invalid_request_error", "timeout"], "refuses"),
        (["HTTP 429 queue_full"], "Lower --concurrency"),
        (["HTTP 503 model_not_ready", "ReadError"], "Lower --concurrency"),
    ],
)
def test_the_hint_fits_the_failure(reasons: list[str], words: str) -> None:
    assert words in failure_hint(reasons)


async def test_the_hint_for_an_unknown_model_does_not_mention_the_load(target: Any) -> None:
    target.mode = "unknown"
    with pytest.raises(CannotCompare, match="HTTP 404 model_not_found") as caught:
        await measure(pair(target), "chat", CASES, LOAD, lambda text: None)
    assert "--b-model" in caught.value.hint
    assert "--concurrency" not in caught.value.hint


@pytest.mark.parametrize(
    ("task", "name", "text"),
    [
        ("chat", "equal leading words", "100.0%"),
        ("embedding", "cosine, minimum", "1.000000"),
        ("speech", "word error rate against A", "0.0%"),
    ],
)
async def test_agreement(target: Any, task: str, name: str, text: str) -> None:
    facts = await agree(pair(target), task, CASES, LOAD, lambda text: None)
    assert {fact.name: fact.text for fact in facts}[name] == text
    assert len(target.bodies) == 2 * (1 if task == "speech" else 2)
    if task == "chat":
        assert {body["temperature"] for body in target.bodies} == {0}


async def test_vectors_of_length_zero_cannot_be_compared(target: Any) -> None:
    target.mode = "zero"
    with pytest.raises(CannotCompare, match="length zero"):
        await agree(pair(target), "embedding", CASES, LOAD, lambda text: None)
