"""How an answer is to be written: what chat, text completions and responses share, checked."""

from __future__ import annotations

from dataclasses import dataclass

from fleet_contract.api.generation import GenerationBody
from fleet_contract.errors import BadRequest, UnsupportedParameter
from fleet_contract.spec import ModelSpec
from fleet_server.protocols import Sampling

MAX_STOP_CHARS = 4096
LAST_RESORT_MAX_TOKENS = 512


@dataclass(frozen=True, slots=True)
class GenerationOptions:
    """What a client asked of its answer. `include_usage` is of streams."""

    max_tokens: int
    temperature: float
    top_p: float
    stop: tuple[str, ...] = ()
    stream: bool = False
    include_usage: bool = False
    seed: int | None = None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    json_object: bool = False
    grammar: str | None = None

    def sampling(self, room: int) -> Sampling:
        """How to sample, with at most `room` new tokens."""
        return Sampling(
            max_tokens=min(self.max_tokens, room),
            temperature=self.temperature,
            top_p=self.top_p,
            seed=self.seed,
            presence_penalty=self.presence_penalty,
            frequency_penalty=self.frequency_penalty,
            json_object=self.json_object,
            grammar=self.grammar,
        )


def read_options(given: GenerationBody, spec: ModelSpec, max_tokens: int) -> GenerationOptions:
    """The manner of `given`, with the spec's defaults. Raises BadRequest with `param`."""
    if given.n not in (None, 1):
        raise UnsupportedParameter("'n' must be 1: one answer per request.", param="n")
    return GenerationOptions(
        max_tokens=max_tokens,
        temperature=first_given(given.temperature, spec.defaults.temperature),
        top_p=first_given(given.top_p, spec.defaults.top_p),
        stop=_stop(given.stop, spec),
        stream=bool(given.stream),
        include_usage=bool(given.stream_options and given.stream_options.include_usage),
        seed=given.seed,
        presence_penalty=given.presence_penalty or 0.0,
        frequency_penalty=given.frequency_penalty or 0.0,
    )


def check_most(asked: int, param: str, spec: ModelSpec) -> int:
    """`asked` new tokens. Raises BadRequest for more than the spec allows."""
    if asked > spec.limits.max_new_tokens:
        raise BadRequest(
            f"{param!r} is {asked}; this server writes at most {spec.limits.max_new_tokens} new "
            f"tokens.",
            param=param,
        )
    return asked


def usual_most(spec: ModelSpec) -> int:
    """The most new tokens of an answer whose request does not say."""
    return min(spec.defaults.max_tokens or LAST_RESORT_MAX_TOKENS, spec.limits.max_new_tokens)


def first_given(asked: float | None, default: float | None) -> float:
    """What was asked, else the spec's default, else OpenAI's, which is 1."""
    return next((value for value in (asked, default) if value is not None), 1.0)


def _stop(stop: str | list[str] | None, spec: ModelSpec) -> tuple[str, ...]:
    words = (stop,) if isinstance(stop, str) else tuple(stop or ())
    if len(words) > spec.limits.max_stop:
        raise BadRequest(
            f"'stop' has {len(words)} strings; at most {spec.limits.max_stop} are accepted.",
            param="stop",
        )
    if not all(words):
        raise BadRequest("'stop' must not hold an empty string.", param="stop")
    if (longest := max(map(len, words), default=0)) > MAX_STOP_CHARS:
        raise BadRequest(
            f"'stop' has a string of {longest} characters; at most {MAX_STOP_CHARS} are accepted.",
            param="stop",
        )
    return words
