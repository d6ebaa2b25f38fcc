"""Parses and validates the body of POST /v1/completions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from fleet_contract.api.completions import CompletionBody
from fleet_contract.api.generation import MOST_CHOICES
from fleet_contract.errors import BadRequest, TooLarge, UnsupportedParameter
from fleet_contract.spec import ModelSpec
from fleet_server.generation.formats.fields import read_format
from fleet_server.generation.options import (
    GenerationOptions,
    check_max_tokens,
    read_options,
    within_limit,
)
from fleet_server.generation.run import place_of
from fleet_web.errors import from_validation

DEFAULT_MAX_TOKENS = 16
"""OpenAI's default."""
MOST_SCORED_TOKENS = 32_768
"""Of several prompts with probabilities, which take up to 4 KiB of memory for each token."""


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """A validated request. Each prompt is a non-empty text or list of token ids; the ids are not
    yet checked against the vocabulary. `suffix` is the text to come after the generated one."""

    prompts: list[str | list[int]]
    suffix: str
    echo: bool
    options: GenerationOptions

    @property
    def longest(self) -> int:
        """Characters of the longest prompt; a list of token ids has none."""
        texts = [len(prompt) for prompt in self.prompts if isinstance(prompt, str)]
        return max(texts, default=0) + len(self.suffix)


def parse(body: dict[str, Any], spec: ModelSpec) -> CompletionRequest:
    """The request in `body`. Raises BadRequest with `param`."""
    try:
        given = CompletionBody.model_validate(body)
    except ValidationError as error:
        raise from_validation(error, body) from None
    if given.best_of not in (None, 1, given.n):
        raise UnsupportedParameter(
            "'best_of' is not supported: choices are not ranked. Use 'n' to get all of them.",
            param="best_of",
        )
    logprobs = None if given.logprobs is False else given.logprobs
    scores_prompt = bool(given.echo) and logprobs is not None
    if scores_prompt and given.n not in (None, 1):
        raise UnsupportedParameter(
            "'echo' with 'logprobs' is supported with one choice only.", param="n"
        )
    most = within_limit(DEFAULT_MAX_TOKENS, spec)
    if given.max_tokens is not None:
        most = check_max_tokens(given.max_tokens, "max_tokens", spec)
    options = replace(
        read_options(given, spec, most),
        output=read_format(given),
        logprobs=logprobs,
        prompt_logprobs=scores_prompt,
    )
    suffix = given.suffix or ""
    if suffix and given.echo:
        raise UnsupportedParameter("'echo' cannot be combined with 'suffix'.", param="echo")
    prompts = read_prompts(given.prompt, spec, len(suffix))
    _check_choices(len(prompts), options.n)
    return CompletionRequest(prompts, suffix, bool(given.echo), options)


def read_prompts(value: Any, spec: ModelSpec, more: int) -> list[str | list[int]]:
    """The prompts, in any of OpenAI's forms, each of which has `more` characters after it. Raises
    BadRequest."""
    several = isinstance(value, list) and set(map(type, value)) in ({str}, {list})
    prompts = value if several else [value]
    if len(prompts) > MOST_CHOICES:
        raise BadRequest(
            f"'prompt' has {len(prompts)} prompts; at most {MOST_CHOICES} are accepted in one "
            f"request.",
            param="prompt",
        )
    for at, prompt in enumerate(prompts):
        _check_prompt(prompt, place_of(at, len(prompts)))
    number = sum(more + len(prompt) * isinstance(prompt, str) for prompt in prompts)
    if number > spec.limits.max_text_chars:
        raise TooLarge(
            f"The prompt has {number} characters; at most {spec.limits.max_text_chars} are "
            f"accepted.",
            param="prompt",
        )
    return prompts


def check_ids(token_ids: list[int], vocab_size: int, place: str) -> None:
    """Raises BadRequest for an id that is not in `range(vocab_size)`."""
    for wrong in (min(token_ids), max(token_ids)):
        if not 0 <= wrong < vocab_size:
            raise BadRequest(
                f"The prompt contains the token id {str(wrong)[:40]}; this model's ids are 0 to "
                f"{vocab_size - 1}.",
                param=place,
            )


def check_scored(lengths: Sequence[int], context_length: int) -> None:
    """Raises BadRequest for prompts with too many probabilities together; `lengths` in tokens."""
    most = max(context_length, MOST_SCORED_TOKENS)
    if len(lengths) > 1 and sum(lengths) > most:
        raise BadRequest(
            f"The prompts have {sum(lengths)} tokens together; with 'echo' and 'logprobs' at most "
            f"{most} are accepted in one request.",
            param="prompt",
        )


def empty(place: str) -> BadRequest:
    """The error for a prompt without tokens."""
    return BadRequest("The prompt is empty.", param=place, code="empty_input")


def _check_prompt(value: Any, place: str) -> None:
    if not isinstance(value, str | list):
        raise _no_prompt(place)
    if not value:
        raise empty(place)
    if isinstance(value, list) and set(map(type, value)) != {int}:
        raise _no_prompt(place)


def _check_choices(prompts: int, each: int) -> None:
    if prompts * each > MOST_CHOICES:
        raise BadRequest(
            f"'n' is {each} for {prompts} prompts; at most {MOST_CHOICES} choices are accepted in "
            f"one request.",
            param="n",
        )


def _no_prompt(place: str) -> BadRequest:
    return BadRequest(
        f"{place!r} must be a string or a list of token ids, or a list of one of these.",
        param=place,
        code="invalid_value",
    )
