"""Options of a generation: defaults, limits, and what counts as greedy."""

from __future__ import annotations

from typing import Any

import pytest

from fleet_contract.api.generation import GenerationBody
from fleet_contract.errors import BadRequest
from fleet_contract.spec import ModelSpec
from fleet_server.generation.options import (
    COLDEST,
    FALLBACK_MAX_TOKENS,
    LEAST_REPETITION,
    MAX_STOP_CHARS,
    NARROWEST,
    GenerationOptions,
    check_max_tokens,
    default_max_tokens,
    read_options,
    within_limit,
)


def spec(**more: Any) -> ModelSpec:
    return ModelSpec.model_validate({"model": "m", "task": "chat", **more})


def read(given: dict[str, Any], **more: Any) -> GenerationOptions:
    return read_options(GenerationBody.model_validate(given), spec(**more), 9)


def test_openais_defaults_where_neither_request_nor_spec_has_a_value() -> None:
    assert read({}) == GenerationOptions(max_tokens=9, temperature=1.0, top_p=1.0)


def test_the_request_has_precedence_over_the_spec() -> None:
    defaults = {"temperature": 0.3, "topP": 0.4}
    found = read({}, defaults=defaults)
    assert (found.temperature, found.top_p) == (0.3, 0.4)
    found = read({"temperature": 0, "top_p": 0.5}, defaults=defaults)
    assert (found.temperature, found.top_p) == (0, 0.5)


def test_all_given_options_are_read() -> None:
    given = {
        "stop": ["a", "b"], "stream": True, "stream_options": {"include_usage": True}, "seed": 7,
        "presence_penalty": 0.5, "frequency_penalty": -0.5, "n": 1,
    }  # fmt: skip
    assert read(given) == GenerationOptions(
        9, 1.0, 1.0, ("a", "b"), stream=True, include_usage=True, seed=7,
        presence_penalty=0.5, frequency_penalty=-0.5,
    )  # fmt: skip
    assert read({"stop": "a"}).stop == ("a",)
    assert not read({"stream_options": {"include_usage": False}}).include_usage


@pytest.mark.parametrize(("given", "used"), [(1e-300, LEAST_REPETITION), (0.5, 0.5), (None, 1)])
def test_a_repetition_penalty_leaves_logits_finite(given: float | None, used: float) -> None:
    assert read({"repetition_penalty": given}).repetition_penalty == used


@pytest.mark.parametrize(("seed", "used"), [(-1, 2**64 - 1), (0, 0), (2**64 - 1, 2**64 - 1)])
def test_seeds_are_unsigned(seed: int, used: int) -> None:
    assert read({"seed": seed}).seed == used


def test_each_choice_has_a_seed_of_its_own() -> None:
    options = read({"n": 3, "seed": 2**64 - 2})
    assert options.n == 3
    seeds = [options.sampling(9, choice=number).seed for number in range(3)]
    assert seeds == [2**64 - 2, 2**64 - 1, 0]
    assert read({}).n == 1
    assert read({}).sampling(9, choice=2).seed is None


@pytest.mark.parametrize(
    ("stop", "message"),
    [
        (["a", "b", "c"], "has 3 strings; at most 2"),
        (["a", ""], "empty"),
        ("", "empty"),
        (["a", "x" * (MAX_STOP_CHARS + 1)], "a string of 4097 characters; at most 4096"),
    ],
)
def test_stop_strings_are_bounded(stop: Any, message: str) -> None:
    limits = {"maxStop": 2}
    with pytest.raises(BadRequest, match=message) as caught:
        read({"stop": stop}, limits=limits)
    assert caught.value.param == "stop"
    longest = ["a", "x" * MAX_STOP_CHARS]
    assert read({"stop": longest}, limits=limits).stop == tuple(longest)


@pytest.mark.parametrize(
    ("temperature", "top_p", "sampled"),
    [
        (0.7, 0.9, (0.7, 0.9)),
        (COLDEST, NARROWEST, (COLDEST, NARROWEST)),
        (COLDEST / 2, 0.9, (0.0, 1.0)),
        (0.7, NARROWEST / 2, (0.0, 1.0)),
        (0.0, 1.0, (0.0, 1.0)),
    ],
)
def test_what_cannot_be_sampled_is_greedy(
    temperature: float, top_p: float, sampled: tuple[float, float]
) -> None:
    found = GenerationOptions(9, temperature, top_p).sampling(99)
    assert (found.temperature, found.top_p) == sampled


@pytest.mark.parametrize(("min_p", "temperature"), [(1, 0.0), (1 - 1e-12, 0.0), (0.999, 0.7)])
def test_a_share_of_all_the_probability_is_greedy(min_p: float, temperature: float) -> None:
    found = GenerationOptions(9, 0.7, 1.0, min_p=min_p).sampling(99)
    assert (found.temperature, found.min_p) == (temperature, min_p if temperature else 0.0)


def test_sampling_has_at_most_the_tokens_left() -> None:
    grammar = object()
    options = GenerationOptions(9, 1.0, 1.0, seed=3, presence_penalty=0.5, frequency_penalty=-0.5)
    found = options.sampling(8, grammar)
    assert (found.max_tokens, found.seed, found.grammar) == (8, 3, grammar)
    assert (found.presence_penalty, found.frequency_penalty) == (0.5, -0.5)
    assert options.sampling(10).max_tokens == 9
    assert options.sampling(10).grammar is None


def test_a_limit_on_new_tokens() -> None:
    limited = spec(limits={"maxNewTokens": 10})
    assert check_max_tokens(10, "max_tokens", limited) == 10
    with pytest.raises(BadRequest, match="at most 10") as caught:
        check_max_tokens(11, "max_tokens", limited)
    assert caught.value.param == "max_tokens"
    assert check_max_tokens(10**6, "max_tokens", spec()) == 10**6
    assert [within_limit(number, limited) for number in (9, 11)] == [9, 10]
    assert within_limit(11, spec()) == 11


def test_the_tokens_of_a_request_without_a_number() -> None:
    assert default_max_tokens(spec()) == FALLBACK_MAX_TOKENS == 512
    assert default_max_tokens(spec(defaults={"maxTokens": 7})) == 7
    assert default_max_tokens(spec(limits={"maxNewTokens": 10})) == 10
