"""The events of llama.cpp as steps."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from fleet_server.engines.llamacpp.steps import NotCached, StepReader
from fleet_server.engines.llamacpp.vocabulary import LlamaVocabulary
from fleet_server.protocols import Delta, Finish, Step, TokenLogprobs


class Tokenizer:
    """The part of llama.cpp's server that decodes tokens."""

    def post(self, route: str, body: Any) -> Any:
        return {"content": f"<{body['tokens'][0]}>"}


VOCABULARY: Any = None


def read(response: Any, logprobs: int | None = None) -> list[Step]:
    server: Any = Tokenizer()
    return list(StepReader(LlamaVocabulary(server, 9), logprobs).read(response))


def events(*found: dict[str, Any]) -> Any:
    return io.BytesIO(b"".join(b"data: %s\n\n" % json.dumps(each).encode() for each in found))


def chunk(text: str, number: int, kind: str = "") -> dict[str, Any]:
    end = {"stop": True, "stop_type": kind} if kind else {"stop": False}
    return {"content": text, "tokens_predicted": number} | end


def test_tokens_of_an_incomplete_character_are_counted_with_it() -> None:
    steps = read(events(chunk("日", 3), chunk("", 4, "limit")))
    assert [step.delta for step in steps] == [Delta("日", 3), Delta("", 1)]
    assert steps[-1].finish is Finish.LENGTH


def test_the_token_that_ends_the_text_is_not_counted() -> None:
    steps = read(events(chunk("Yes", 1), chunk("", 2), chunk("", 2, "eos")))
    assert [step.delta for step in steps] == [Delta("Yes", 1), Delta("", 0)]
    assert steps[-1].finish is Finish.STOP


def test_progress_of_the_prompt_gives_the_cached_tokens() -> None:
    progress = [
        chunk("", 0) | {"prompt_progress": {"total": 6, "cache": 4, "processed": done}}
        for done in (4, 6)
    ]
    steps = read(events(*progress, chunk("a", 1), chunk("", 1, "limit")))
    assert [step.cached_tokens for step in steps] == [4, None, None]
    assert steps[0].delta == Delta("", 0)


def test_a_prompt_that_is_not_cached_is_not_read_further() -> None:
    progress = chunk("", 0) | {"prompt_progress": {"total": 6, "cache": 2, "processed": 2}}
    end = chunk("", 1, "limit")
    reader = StepReader(VOCABULARY, None)
    with pytest.raises(NotCached) as caught:
        reader.read_slice(events(progress, end), 3)
    assert caught.value.tokens == 2
    with pytest.raises(NotCached):
        list(StepReader(VOCABULARY, None).read(events(progress, end), 3))
    reader.read_slice(events(progress, end), 4)
    done = chunk("", 0) | {"prompt_progress": {"total": 8, "cache": 6, "processed": 8}}
    first, _ = reader.read(events(done, end))
    assert first.cached_tokens == 2  # by the request, and not by its slices


def test_a_stream_without_an_end_is_an_error() -> None:
    with pytest.raises(ConnectionError):
        read(events(chunk("a", 1)))
    with pytest.raises(ConnectionError):
        StepReader(VOCABULARY, None).read_slice(events(chunk("a", 1)))


def test_an_error_within_the_stream_is_raised() -> None:
    with pytest.raises(ValueError, match="full"):
        read(events(chunk("a", 1), {"error": {"message": "full"}}))
    with pytest.raises(RuntimeError, match="full"):
        read(io.BytesIO(b'error: {"message": "full"}\n\n'))


def scored(token_id: int, text: str, logprob: float, **top: float) -> dict[str, Any]:
    others = [
        {"id": ord(key), "bytes": list(key.encode()), "logprob": value}
        for key, value in top.items()
    ]
    entry = {"id": token_id, "bytes": list(text.encode()), "logprob": logprob}
    return {"completion_probabilities": [entry | {"top_logprobs": others}]}


def test_logarithmic_probabilities_belong_to_the_step_of_their_token() -> None:
    response = events(
        chunk("a", 1) | scored(97, "a", -0.5, a=-0.5, b=-1.0),
        chunk("", 2) | scored(3, "", -0.25, a=-0.25),
        chunk("日", 5) | scored(4, "日", -2.0, c=-1.0),
        chunk("", 6) | scored(2, "", -0.1, a=-0.1),
        chunk("", 6, "eos"),
    )
    first, second, last = read(response, logprobs=1)
    assert first.logprobs == [TokenLogprobs(97, -0.5, [(97, -0.5)], b"a")]
    assert [each.token_id for each in second.logprobs] == [3, 4]
    assert second.logprobs[1].piece == "日".encode()
    assert list(last.logprobs) == []


def test_only_the_wanted_alternatives_are_returned() -> None:
    event, end = chunk("a", 1) | scored(97, "a", -0.5, a=-0.5), chunk("", 1, "limit")
    [step, _] = read(events(event, end), logprobs=0)
    assert step.logprobs == [TokenLogprobs(97, -0.5, [], b"a")]
    [step, _] = read(events(event, end))
    assert list(step.logprobs) == []
