"""Checks which OpenAI parameters a request uses; unsupported ones are refused, not ignored.

No-op values (`logprobs: false`, `tools: []`) of unsupported parameters are accepted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fleet_contract.api.base import JsonBody
from fleet_contract.api.chat import NO_OP_VALUES, ChatBody
from fleet_contract.errors import UnsupportedParameter
from fleet_server.generation import chat_format
from fleet_server.generation.formats.fields import check_output
from fleet_server.generation.options import GenerationOptions
from fleet_server.metrics import Metrics
from fleet_server.no_ops import refuse_unsupported, same_json
from fleet_server.protocols import ChatModel, FormatKind
from fleet_server.unknown_fields import count_ignored

WITHOUT_EFFECT = frozenset({
    "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key",
    "parallel_tool_calls",
})  # fmt: skip
"""Accepted parameters that concern OpenAI's own bookkeeping or have no effect here."""

SUPPORTED_BY = (
    " by this server's engines (a server of the engines 'container' or 'remote' may support it)"
)

ALL_ENGINES = ("openvino", "llamacpp", "torch", "vllm")
SUPPORTING_ENGINES: Mapping[str, tuple[str, ...]] = dict.fromkeys(
    (
        "seed", "presence_penalty", "frequency_penalty", "logit_bias", "top_k", "min_p",
        "repetition_penalty",
    ),
    ALL_ENGINES,
) | {"logprobs": ("openvino", "llamacpp (without 'speculative')", "torch", "vllm")}  # fmt: skip
PROMPT_LOGPROBS = ("torch", "vllm")
"""Engines with the logarithmic probabilities of the prompt's tokens."""
BUDGETS = ("thinking_budget", "thinking_token_budget")
"""Names of the bound on the reasoning: in the APIs of Qwen and of vLLM."""
BLOCK_ENGINES = ("openvino", "torch", "vllm")
"""Those that find several blocks of reasoning."""
EXTRA = {"top_k": (None,), "min_p": (None, 0), "repetition_penalty": (None, 1)}
"""Parameters that OpenAI's API does not have, with the values that are always accepted."""
TEMPLATED = ("tools", "tool_choice", "chat_template_kwargs")
"""Parameters for the chat template, which engines with `tools` in their `supports` have."""


class Parameters:
    """The parameters of one route: `body` declares the supported ones, `no_ops` holds the accepted
    values of unsupported ones."""

    def __init__(self, body: type[JsonBody], no_ops: Mapping[str, tuple[Any, ...]]) -> None:
        self._no_ops = no_ops
        self._fields = frozenset(body.model_fields)
        self._known = self._fields | WITHOUT_EFFECT | no_ops.keys() | EXTRA.keys()

    def check(
        self,
        body: Mapping[str, Any],
        supports: frozenset[str],
        metrics: Metrics,
        *,
        extra: bool = False,
    ) -> None:
        """`refuse_unsupported`, and `count_ignored` for unknown fields."""
        self.refuse_unsupported(body, supports, extra=extra)
        count_ignored(body, self._known, metrics)

    def refuse_unsupported(
        self, body: Mapping[str, Any], supports: frozenset[str], *, extra: bool = False
    ) -> None:
        """Raise UnsupportedParameter for what this engine does not support, naming one that does.

        `extra` accepts parameters that OpenAI's API does not have. The types of `body` have been
        validated.
        """
        for name, neutral in EXTRA.items():
            if not (extra and name in self._fields):
                self._refuse_extra(name, body.get(name), neutral)
        refuse_unsupported(body, self._no_ops, SUPPORTED_BY)
        for name in SUPPORTING_ENGINES:
            if name not in supports and not _is_neutral(name, body.get(name)):
                raise without(name, name)
        for name in TEMPLATED:
            if "tools" not in supports and body.get(name) not in (None, [], {}, "none", "auto"):
                raise without_tools(name)

    def _refuse_extra(self, name: str, value: Any, neutral: tuple[Any, ...]) -> None:
        if any(same_json(value, each) for each in neutral):
            return
        advice = "use 'top_p'" if name == "top_k" else "it is not supported here"
        if name in self._fields:
            advice += ", or allow it on the server (limits.extraSampling, EXTRA_SAMPLING=1)"
        raise UnsupportedParameter(
            f"{name!r} is not a parameter of the OpenAI API; {advice}.", param=name
        )


def without(name: str, param: str) -> UnsupportedParameter:
    """The error for an engine that does not support `name`."""
    return UnsupportedParameter(
        f"{param!r} is not supported by this model's engine; engines that support it: "
        f"{', '.join(SUPPORTING_ENGINES[name])}.",
        param=param,
    )


def check_budget(body: Mapping[str, Any], model: ChatModel) -> None:
    """Raises UnsupportedParameter for a bound on the reasoning that the engine or the model does
    not support."""
    for name in BUDGETS:
        if body.get(name) in (None, -1):
            continue
        if "reasoning_budget" not in model.supports:
            raise UnsupportedParameter(
                f"{name!r} is not supported by this model's engine; engines that support it: "
                f"{', '.join(ALL_ENGINES)}.",
                param=name,
            )
        harmony = chat_format.read(getattr(model, "chat_template", "")).harmony
        if harmony and "reasoning_blocks" not in model.supports:
            raise UnsupportedParameter(
                f"{name!r} is not supported by this engine for a model whose reasoning has several "
                f"blocks; engines that support it: {', '.join(BLOCK_ENGINES)}.",
                param=name,
            )


def check_prompt_logprobs(supports: frozenset[str]) -> None:
    """Raises UnsupportedParameter for an engine without those of the prompt's tokens."""
    if "prompt_logprobs" not in supports:
        raise UnsupportedParameter(
            "'echo' with 'logprobs' is not supported by this model's engine; engines that support "
            f"it: {', '.join(PROMPT_LOGPROBS)}.",
            param="echo",
        )


def without_tools(param: str) -> UnsupportedParameter:
    """The error for an engine that has no tools."""
    return UnsupportedParameter(
        f"{param!r} is not supported by this model's engine; engines that support it: openvino, "
        "llamacpp, torch, vllm.",
        param=param,
    )


def with_calls(options: GenerationOptions, model: ChatModel) -> GenerationOptions:
    """The options, in which the format of the text includes that of calls: of those that must be
    made, of those of strict tools, and of those besides a format of the response.

    Raises UnsupportedParameter for a format that the engine does not have, if the engine cannot
    enforce a call, or if tools cannot be combined with the format.
    """
    tools, output, supports = options.tools, options.output, model.supports
    if not tools.required:
        check_output(output, supports)
    form = chat_format.read(getattr(model, "chat_template", ""))
    if not tools.tools:
        if output is not None and output.free:
            options = replace(options, output=replace(output, loose=form.marks))
        return options
    if tools.required:
        if "grammar" not in supports:
            raise UnsupportedParameter(
                "A 'tool_choice' that requires a call is not supported by this model's engine; "
                "engines that support it: openvino, llamacpp, torch, vllm.",
                param="tool_choice",
            )
        return replace(options, output=tools.forced())
    if output is None and not tools.strict:
        return options
    combined = None
    if "grammar" in supports and (output is None or output.kind is FormatKind.JSON_SCHEMA):
        combined = tools.optional(form.call_syntax, form.marks, output)
    if combined is None and output is not None:
        raise UnsupportedParameter(
            "This format of the response cannot be combined with tools of this model; set "
            "'tool_choice' to 'none' or 'required'.",
            param=output.param.partition(".")[0],
        )
    unenforced = ("strict",) if combined is None else ()
    return replace(options, output=combined, unenforced=unenforced)


NEUTRAL: dict[str, tuple[Any, ...]] = {
    "seed": (), "logprobs": (False,), "logit_bias": ({},), "top_k": (0, -1),
    "repetition_penalty": (1,),
}  # fmt: skip
"""Values without effect besides null, where they are not 0."""
CHAT = Parameters(ChatBody, NO_OP_VALUES)


def _is_neutral(name: str, value: Any) -> bool:
    if value is None:
        return True
    return any(same_json(value, each) for each in NEUTRAL.get(name, (0,)))
