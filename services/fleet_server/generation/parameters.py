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
from fleet_server.generation.formats.fields import check_output
from fleet_server.generation.options import GenerationOptions
from fleet_server.metrics import Metrics
from fleet_server.no_ops import refuse_unsupported, same_json
from fleet_server.unknown_fields import count_ignored

WITHOUT_EFFECT = frozenset({
    "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key",
    "parallel_tool_calls",
})  # fmt: skip
"""Accepted parameters that concern OpenAI's own bookkeeping or have no effect here."""

SUPPORTED_BY = " by this server's engines (the engine 'vllm' supports it)"

SUPPORTING_ENGINES: dict[str, tuple[str, ...]] = {
    "seed": ("openvino", "llamacpp", "torch"),
    "presence_penalty": ("openvino", "llamacpp", "torch"),
    "frequency_penalty": ("openvino", "llamacpp", "torch"),
}
TEMPLATED = ("tools", "tool_choice", "chat_template_kwargs")
"""Parameters for the chat template, which engines with `tools` in their `supports` have."""


class Parameters:
    """The parameters of one route: `body` declares the supported ones, `no_ops` holds the accepted
    values of unsupported ones."""

    def __init__(self, body: type[JsonBody], no_ops: Mapping[str, tuple[Any, ...]]) -> None:
        self._no_ops = no_ops
        self._known = frozenset(body.model_fields) | WITHOUT_EFFECT | no_ops.keys() | {"top_k"}

    def check(self, body: Mapping[str, Any], supports: frozenset[str], metrics: Metrics) -> None:
        """`refuse_unsupported`, and `count_ignored` for unknown fields."""
        self.refuse_unsupported(body, supports)
        count_ignored(body, self._known, metrics)

    def refuse_unsupported(self, body: Mapping[str, Any], supports: frozenset[str]) -> None:
        """Raise UnsupportedParameter for what this engine does not support, naming one that does.

        The types of `body` have been validated.
        """
        if body.get("top_k") is not None:
            raise UnsupportedParameter(
                "'top_k' is not a parameter of the OpenAI API; use 'top_p'.", param="top_k"
            )
        refuse_unsupported(body, self._no_ops, SUPPORTED_BY)
        for name, engines in SUPPORTING_ENGINES.items():
            if name not in supports and not _is_neutral(name, body.get(name)):
                raise UnsupportedParameter(
                    f"{name!r} is not supported by this model's engine; engines that support it: "
                    f"{', '.join(engines)}.",
                    param=name,
                )
        for name in TEMPLATED:
            if "tools" not in supports and body.get(name) not in (None, [], {}, "none", "auto"):
                raise without_tools(name)


def without_tools(param: str) -> UnsupportedParameter:
    """The error for an engine that has no tools."""
    return UnsupportedParameter(
        f"{param!r} is not supported by this model's engine; engines that support it: openvino, "
        "llamacpp, torch, vllm.",
        param=param,
    )


def with_calls(options: GenerationOptions, supports: frozenset[str]) -> GenerationOptions:
    """The options, in which the format of a call that must be made is that of the text.

    Raises UnsupportedParameter for a format that the engine does not have, if tools are combined
    with another format, or if the engine cannot enforce a call.
    """
    tools, output = options.tools, options.output
    if not tools.tools:
        check_output(output, supports)
        return options
    if output is not None:
        raise UnsupportedParameter(
            "A format of the response cannot be combined with tools; set 'tool_choice' to 'none'.",
            param=output.param.partition(".")[0],
        )
    if tools.required and "json_schema" not in supports:
        raise UnsupportedParameter(
            "A 'tool_choice' that requires a call is not supported by this model's engine; engines "
            "that support it: openvino, llamacpp, torch, vllm.",
            param="tool_choice",
        )
    return replace(options, output=tools.output())


CHAT = Parameters(ChatBody, NO_OP_VALUES)


def _is_neutral(name: str, value: Any) -> bool:
    if value is None:
        return True
    return name != "seed" and same_json(value, 0)
