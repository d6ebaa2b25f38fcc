"""Sampling and length options shared by chat, text completions and responses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fleet_contract.api.generation import LARGEST_BIAS, MOST_BIASES, GenerationBody
from fleet_contract.errors import BadRequest
from fleet_contract.spec import ModelSpec
from fleet_server.generation.tools import NO_TOOLS, ToolUse
from fleet_server.protocols import OutputFormat, ReasoningBudget, Sampling

COLDEST = 1e-5
"""Sampling with a lower temperature is greedy: logits divided by it are not finite in float32."""
NARROWEST = 1e-6
"""Sampling with a lower `top_p` is greedy: it is 0 for an engine that rounds it to float32."""
STRICTEST = 1 - 1e-6
"""Sampling with a higher `min_p` is greedy: rounded to float32 it is 1, which OpenVINO GenAI
refuses."""
LEAST_REPETITION = 1e-3
"""A lower repetition penalty has this value: logits divided by it are not finite in float32."""
SEEDS = 1 << 64
MAX_STOP_CHARS = 4096
FALLBACK_MAX_TOKENS = 512
MOST_DIGITS = 10
"""Of a token id."""


@dataclass(frozen=True, slots=True)
class GenerationOptions:
    """Validated options of a request. `include_usage` and `continuous_usage` apply to streams;
    `unenforced` are keywords that no grammar follows.

    `n` is the number of choices of each prompt, `logprobs` that of the most probable tokens at each
    place, None for no logarithmic probabilities. `reasoning_tokens` is the most that a text may
    have, None for any number.
    """

    max_tokens: int
    temperature: float
    top_p: float
    stop: tuple[str, ...] = ()
    stream: bool = False
    include_usage: bool = False
    seed: int | None = None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    output: OutputFormat | None = None
    tools: ToolUse = NO_TOOLS
    unenforced: tuple[str, ...] = ()
    continuous_usage: bool = False
    n: int = 1
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    logprobs: int | None = None
    prompt_logprobs: bool = False
    adapter: str | None = None
    reasoning_tokens: int | None = None

    def sampling(
        self,
        most: int,
        grammar: Any = None,
        choice: int = 0,
        reasoning: ReasoningBudget | None = None,
    ) -> Sampling:
        """The engine's sampling options, with at most `most` new tokens; `grammar` is the compiled
        `output`, `reasoning` the bound of `reasoning_tokens`. Each choice of a prompt has a seed of
        its own, the first one that of the request.
        """
        greedy = self.temperature < COLDEST or self.top_p < NARROWEST or self.min_p > STRICTEST
        return Sampling(
            max_tokens=min(self.max_tokens, most),
            temperature=0.0 if greedy else self.temperature,
            top_p=1.0 if greedy else self.top_p,
            seed=None if self.seed is None else (self.seed + choice) % SEEDS,
            presence_penalty=self.presence_penalty,
            frequency_penalty=self.frequency_penalty,
            grammar=grammar,
            top_k=self.top_k,
            min_p=0.0 if greedy else self.min_p,
            repetition_penalty=self.repetition_penalty,
            logit_bias=self.logit_bias,
            logprobs=self.logprobs,
            prompt_logprobs=self.prompt_logprobs,
            adapter=self.adapter,
            reasoning=reasoning,
        )

    def model(self, spec: ModelSpec) -> str:
        """Id of the model in the response: that of the adapter if the request selects one."""
        return spec.model if self.adapter is None else f"{spec.model}:{self.adapter}"


def read_options(given: GenerationBody, spec: ModelSpec, max_tokens: int) -> GenerationOptions:
    """The options of `given`, with the spec's defaults. Raises BadRequest with `param`."""
    stream_options = given.stream_options
    return GenerationOptions(
        max_tokens=max_tokens,
        temperature=first_given(given.temperature, spec.defaults.temperature),
        top_p=first_given(given.top_p, spec.defaults.top_p),
        stop=read_stop(given.stop, spec),
        stream=bool(given.stream),
        include_usage=bool(stream_options and stream_options.include_usage),
        continuous_usage=bool(stream_options and stream_options.continuous_usage_stats),
        n=1 if given.n is None else given.n,
        top_k=max(0, given.top_k or 0),
        min_p=given.min_p or 0.0,
        repetition_penalty=max(LEAST_REPETITION, given.repetition_penalty or 1.0),
        logit_bias=_logit_bias(given.logit_bias),
        seed=None if given.seed is None else given.seed % SEEDS,
        presence_penalty=given.presence_penalty or 0.0,
        frequency_penalty=given.frequency_penalty or 0.0,
        adapter=adapter_of(given.model, spec),
    )


def adapter_of(model: str | None, spec: ModelSpec) -> str | None:
    """Name of the adapter that `model` is the id of; None if it is an id of the model itself."""
    return None if model is None or model in spec.ids else spec.adapter_named(model)


def check_max_tokens(requested: int, param: str, spec: ModelSpec) -> int:
    """`requested` new tokens. Raises BadRequest above the spec's limit, if it sets one."""
    limit = spec.limits.max_new_tokens
    if limit is not None and requested > limit:
        raise BadRequest(
            f"{param!r} is {requested}; this server generates at most {limit} new tokens.",
            param=param,
        )
    return requested


def default_max_tokens(spec: ModelSpec) -> int:
    """The most new tokens of a request that sets no limit."""
    return within_limit(spec.defaults.max_tokens or FALLBACK_MAX_TOKENS, spec)


def within_limit(number: int, spec: ModelSpec) -> int:
    """`number` new tokens, or the spec's limit if that is lower."""
    limit = spec.limits.max_new_tokens
    return number if limit is None else min(number, limit)


def first_given(requested: float | None, default: float | None) -> float:
    """The request's value, else the spec's default, else OpenAI's default of 1."""
    return next((value for value in (requested, default) if value is not None), 1.0)


def check_vocabulary(bias: Mapping[int, float], size: int) -> None:
    """Raises BadRequest for a token id that is not in `range(size)`."""
    for token_id in bias:
        if token_id >= size:
            raise BadRequest(
                f"'logit_bias' has the token id {token_id}; this model's ids are 0 to {size - 1}.",
                param="logit_bias",
            )


def _logit_bias(given: Any) -> dict[int, float]:
    """The bias by token id. Raises BadRequest."""
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise _invalid_bias("must be an object")
    if len(given) > MOST_BIASES:
        raise _invalid_bias(f"has {len(given)} tokens; at most {MOST_BIASES} are accepted")
    found: dict[int, float] = {}
    for key, value in given.items():
        if type(value) not in (int, float) or not -LARGEST_BIAS <= value <= LARGEST_BIAS:
            raise _invalid_bias(f"must have numbers from -{LARGEST_BIAS} to {LARGEST_BIAS}")
        if not (key.isascii() and key.isdecimal() and len(key) <= MOST_DIGITS):
            raise BadRequest(
                f"'logit_bias' has the key {key[:40]!r}, which is not a token id.",
                param="logit_bias",
            )
        found[int(key)] = value
    return found


def _invalid_bias(why: str) -> BadRequest:
    return BadRequest(f"'logit_bias' {why}.", param="logit_bias", code="invalid_value")


def read_stop(
    stop: str | list[str] | None, spec: ModelSpec, param: str = "stop"
) -> tuple[str, ...]:
    """The stop strings. Raises BadRequest with `param`."""
    words = (stop,) if isinstance(stop, str) else tuple(stop or ())
    if len(words) > spec.limits.max_stop:
        raise BadRequest(
            f"{param!r} has {len(words)} strings; at most {spec.limits.max_stop} are accepted.",
            param=param,
        )
    if not all(words):
        raise BadRequest(f"{param!r} must not contain an empty string.", param=param)
    if (longest := max(map(len, words), default=0)) > MAX_STOP_CHARS:
        raise BadRequest(
            f"{param!r} has a string of {longest} characters; at most {MAX_STOP_CHARS} are "
            f"accepted.",
            param=param,
        )
    return words
