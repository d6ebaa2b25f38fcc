from __future__ import annotations

import io
import json
from typing import Any

import pytest

from fleet_server.engines.llamacpp.chat import completion
from fleet_server.engines.llamacpp.generation import _steps
from fleet_server.protocols import Delta, Finish, Sampling


def events(*found: dict[str, Any]) -> Any:
    return io.BytesIO(b"".join(b"data: %s\n\n" % json.dumps(each).encode() for each in found))


def chunk(text: str, number: int, kind: str = "") -> dict[str, Any]:
    end = {"stop": True, "stop_type": kind} if kind else {"stop": False}
    return {"content": text, "tokens_predicted": number} | end


def test_tokens_of_an_incomplete_character_are_counted_with_it() -> None:
    steps = list(_steps(events(chunk("日", 3), chunk("", 4, "limit"))))
    assert [step.delta for step in steps] == [Delta("日", 3), Delta("", 1)]
    assert steps[-1].finish is Finish.LENGTH


def test_the_token_that_ends_the_text_is_not_counted() -> None:
    steps = list(_steps(events(chunk("Yes", 1), chunk("", 2), chunk("", 2, "eos"))))
    assert [step.delta for step in steps] == [Delta("Yes", 1), Delta("", 0)]
    assert steps[-1].finish is Finish.STOP


def test_progress_of_the_prompt_is_no_step() -> None:
    progress = chunk("", 0) | {"prompt_progress": {"total": 6}, "tokens": [0]}
    assert len(list(_steps(events(progress, chunk("a", 1), chunk("", 1, "limit"))))) == 2


def test_an_error_within_the_stream_is_raised() -> None:
    with pytest.raises(ValueError, match="full"):
        list(_steps(events(chunk("a", 1), {"error": {"message": "full"}})))
    with pytest.raises(RuntimeError, match="full"):
        list(_steps(io.BytesIO(b'error: {"message": "full"}\n\n')))  # type: ignore[arg-type]


def test_greedy_sampling_has_no_random_step() -> None:
    body = completion([1, 2], Sampling(5, temperature=0), cache_prompt=True)
    assert body["samplers"] == ["penalties", "temperature"]
    assert (body["prompt"], body["n_predict"], body["temperature"]) == ([1, 2], 5, 0)


def test_seeds_are_reduced_to_32_bits() -> None:
    def seed(value: int | None) -> int:
        return int(completion([1], Sampling(5, seed=value), cache_prompt=False)["seed"])

    assert seed(2**64 - 1) == seed(2**64 - 1) < 2**32 - 1
    assert seed(None) != seed(None)
