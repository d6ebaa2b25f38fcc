"""Checks which OpenAI parameters a request uses; unsupported ones are refused, not ignored.

No-op values (`logprobs: false`, `tools: []`) of unsupported parameters are accepted.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from fleet_contract.api.base import Body
from fleet_contract.api.chat import NO_OP_VALUES, ChatBody
from fleet_contract.errors import UnsupportedParameter
from fleet_server.metrics import Metrics
from fleet_web.logs import event

logger = logging.getLogger(__name__)

WITHOUT_EFFECT = frozenset({
    "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key",
    "parallel_tool_calls",
})  # fmt: skip
"""Accepted parameters that concern OpenAI's own bookkeeping or have no effect here."""

SUPPORTING_ENGINES: dict[str, tuple[str, ...]] = {
    "seed": ("openvino", "torch"),
    "presence_penalty": ("openvino", "torch"),
    "frequency_penalty": ("openvino", "torch"),
    "response_format": ("openvino",),
}


class Parameters:
    """The parameters of one route: `body` declares the supported ones, `no_ops` holds the accepted
    values of unsupported ones."""

    def __init__(self, body: type[Body], no_ops: Mapping[str, tuple[Any, ...]]) -> None:
        self._no_ops = no_ops
        self._known = frozenset(body.model_fields) | WITHOUT_EFFECT | no_ops.keys() | {"top_k"}

    def check(self, body: Mapping[str, Any], supports: frozenset[str], metrics: Metrics) -> None:
        """`refuse_unsupported`; unknown fields are ignored, counted and logged."""
        self.refuse_unsupported(body, supports)
        if ignored := self.unknown(body):
            metrics.ignored_fields(len(ignored))
            event(logger, "ignored_fields", number=len(ignored))

    def refuse_unsupported(self, body: Mapping[str, Any], supports: frozenset[str]) -> None:
        """Raise UnsupportedParameter for what this engine does not support, naming one that does.

        The types of `body` have been validated.
        """
        if body.get("top_k") is not None:
            raise UnsupportedParameter(
                "'top_k' is not a parameter of the OpenAI API; use 'top_p'.", param="top_k"
            )
        for name, accepted in self._no_ops.items():
            asked = _asked(body.get(name))
            if name in body and not any(_same(asked, value) for value in accepted):
                raise UnsupportedParameter(
                    f"{name!r} is not supported by this server's engines; the engine 'vllm' "
                    f"supports it.",
                    param=name,
                )
        for name, engines in SUPPORTING_ENGINES.items():
            if name not in supports and not _is_neutral(name, body.get(name)):
                raise UnsupportedParameter(
                    f"{name!r} is not supported by this model's engine; engines that support it: "
                    f"{', '.join(engines)}.",
                    param=name,
                )
        form = body.get("response_format")
        if (
            "json_schema" not in supports
            and isinstance(form, dict)
            and form.get("type") == "json_schema"
        ):
            raise UnsupportedParameter(
                "'response_format' of type 'json_schema' is not supported by this model's engine "
                "('json_object' is); engines that support it: openvino, vllm.",
                param="response_format",
            )

    def unknown(self, body: Mapping[str, Any]) -> list[str]:
        """Names of fields that are not parameters of the route, sorted."""
        return sorted(body.keys() - self._known)


CHAT = Parameters(ChatBody, NO_OP_VALUES)


def _is_neutral(name: str, value: Any) -> bool:
    if value is None:
        return True
    if name == "response_format":
        return isinstance(value, dict) and value.get("type") == "text"
    return name != "seed" and _same(value, 0)


def _asked(value: Any) -> Any:
    """The value without what asks for nothing: members of objects that are null, or the effort
    `none`."""
    if not isinstance(value, dict):
        return value
    kept = {key: _asked(each) for key, each in value.items() if each is not None}
    return {key: each for key, each in kept.items() if (key, each) != ("effort", "none")}


def _same(value: Any, accepted: Any) -> bool:
    # 0 == False and 1 == True in Python, but not in JSON.
    return value == accepted and isinstance(value, bool) == isinstance(accepted, bool)
