"""Converts the options of a generation to vLLM's, and its results to steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vllm import SamplingParams
from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

from fleet_contract.errors import BadRequest
from fleet_server.engines.vllm.guided import spec_of
from fleet_server.protocols import Finish, Sampling, Step, TokenLogprobs

MAX_SEED = (1 << 63) - 1


class CheckedParams(SamplingParams):  # type: ignore[misc]
    """Options whose grammar has been compiled within limits (fleet_server.engines.guided)."""

    def _validate_structured_outputs(self, *args: Any) -> None:
        """Instead of vLLM's check, which compiles the grammar on the event loop, without a limit of
        time."""


def parameters(
    sampling: Sampling, begun: Sequence[int] = (), forced: int | None = None
) -> SamplingParams:
    """Token ids are returned as they are generated, without text. `begun` are tokens of the prompt
    that the text begins with, and `forced` is the only one that is generated."""
    return CheckedParams(
        max_tokens=sampling.max_tokens if forced is None else 1,
        allowed_token_ids=None if forced is None else [forced],
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        min_p=sampling.min_p,
        seed=None if sampling.seed is None else sampling.seed & MAX_SEED,
        presence_penalty=sampling.presence_penalty,
        frequency_penalty=sampling.frequency_penalty,
        repetition_penalty=sampling.repetition_penalty,
        logit_bias=dict(sampling.logit_bias) or None,
        logprobs=sampling.logprobs,
        prompt_logprobs=(sampling.logprobs or 0) if sampling.prompt_logprobs else None,
        structured_outputs=(
            None
            if sampling.grammar is None or forced is not None
            else StructuredOutputsParams(grammar=spec_of(sampling.grammar.source, begun))
        ),
        detokenize=False,
        output_kind=RequestOutputKind.DELTA,
        skip_clone=True,
    )


def step_of(output: Any, prompt_ids: Sequence[int], sampling: Sampling) -> Step:
    """The step in a `RequestOutput` of a generation without text."""
    completion = output.outputs[0]
    ids, reason = completion.token_ids, completion.finish_reason
    if reason not in (None, "stop", "length"):
        return Step((), error=_failure(reason, sampling))
    most = sampling.logprobs or 0
    if reason == "stop":
        ids = ids[:-1]  # the token that ends the generation
    logprobs: Sequence[TokenLogprobs] = ()
    if completion.logprobs:
        logprobs = [
            _logprobs(token, found, most)
            for token, found in zip(ids, completion.logprobs, strict=False)
        ]
    of_prompt: Sequence[TokenLogprobs] = ()
    if output.prompt_logprobs:
        of_prompt = [
            _logprobs(token, found, most)
            for token, found in zip(prompt_ids, output.prompt_logprobs, strict=True)
            if found is not None
        ]
    return Step(
        ids,
        None if reason is None else Finish(reason),
        logprobs=logprobs,
        cached_tokens=output.num_cached_tokens,
        prompt_logprobs=of_prompt,
    )


def _failure(reason: str, sampling: Sampling) -> Exception:
    if reason == "error" and sampling.grammar is not None:
        return BadRequest(
            "Following the format of the text takes too long. Use one with fewer alternatives and "
            "simpler patterns.",
            param=sampling.grammar.param,
            code="schema_too_expensive",
        )
    return RuntimeError(f"vLLM ended the request: {reason}")


def _logprobs(token_id: int, found: Mapping[int, Any], most: int) -> TokenLogprobs:
    """vLLM adds the token itself to the most probable ones, if it is none of them."""
    ranked = sorted(found.items(), key=lambda item: item[1].rank)
    top = [(each, value.logprob) for each, value in ranked[:most]]
    return TokenLogprobs(token_id, found[token_id].logprob, top)
