"""Which OpenAI parameters are honoured, by whom; the others are refused, never dropped.

Values that ask for nothing (`logprobs: false`, `tools: []`) are accepted.
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
"""Parameters that steer OpenAI's own bookkeeping or nothing at all here."""

OPTIONAL_BY_ENGINE: dict[str, tuple[str, ...]] = {
    "seed": ("openvino", "torch"),
    "presence_penalty": ("openvino", "torch"),
    "frequency_penalty": ("openvino", "torch"),
    "response_format": ("openvino",),
}


class Parameters:
    """The parameters of one route. `body` has the honoured ones, `asks_nothing` others, each with
    the values that ask for nothing."""

    def __init__(self, body: type[Body], asks_nothing: Mapping[str, tuple[Any, ...]]) -> None:
        self._asks_nothing = asks_nothing
        self._known = (
            frozenset(body.model_fields) | WITHOUT_EFFECT | asks_nothing.keys() | {"top_k"}
        )

    def check(self, body: Mapping[str, Any], supports: frozenset[str], metrics: Metrics) -> None:
        """`refuse_unsupported`; the fields nobody knows are ignored, counted and logged."""
        self.refuse_unsupported(body, supports)
        if ignored := self.unknown(body):
            metrics.ignored_fields(len(ignored))
            event(logger, "ignored_fields", number=len(ignored))

    def refuse_unsupported(self, body: Mapping[str, Any], supports: frozenset[str]) -> None:
        """Raises UnsupportedParameter for what this engine cannot honour, naming one that can. The
        types of `body` were checked before."""
        if body.get("top_k") is not None:
            raise UnsupportedParameter(
                "'top_k' is not a parameter of the OpenAI API; use 'top_p'.", param="top_k"
            )
        for name, harmless in self._asks_nothing.items():
            if name in body and not any(_same(body[name], value) for value in harmless):
                raise UnsupportedParameter(
                    f"{name!r} is not honoured by the engines of this server; a model served with "
                    f"engine 'vllm' honours it.",
                    param=name,
                )
        for name, engines in OPTIONAL_BY_ENGINE.items():
            if name not in supports and not _is_neutral(name, body.get(name)):
                raise UnsupportedParameter(
                    f"{name!r} is not honoured by this model's engine; it is by: "
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
                "'response_format' of type 'json_schema' is not honoured by this model's engine "
                "('json_object' is); it is by: openvino, vllm.",
                param="response_format",
            )

    def unknown(self, body: Mapping[str, Any]) -> list[str]:
        """Fields of the body that mean nothing here."""
        return sorted(body.keys() - self._known)


CHAT = Parameters(ChatBody, NO_OP_VALUES)


def _is_neutral(name: str, value: Any) -> bool:
    if value is None:
        return True
    if name == "response_format":
        return isinstance(value, dict) and value.get("type") == "text"
    return name != "seed" and _same(value, 0)


def _same(value: Any, harmless: Any) -> bool:
    return value == harmless and isinstance(value, bool) == isinstance(harmless, bool)
