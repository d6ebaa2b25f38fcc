"""Translates `thinking` to the `reasoning_effort` of chats."""

from __future__ import annotations

from fleet_contract.api.messages import CountTokensBody
from fleet_contract.errors import UnsupportedParameter
from fleet_server.generation.chat_format import ChatFormat
from fleet_server.generation.variables import EFFORT, SWITCHES

DEFAULT_EFFORT = "medium"


def effort_of(given: CountTokensBody, form: ChatFormat) -> str | None:
    """The effort for a model's template, None if it has no variable for it.

    Without `thinking` reasoning is off, as in Anthropic's API, where the template can turn it off.
    Raises UnsupportedParameter for a model without reasoning, if the request asks for it.
    """
    wanted = given.thinking.type if given.thinking else None
    can_choose = not form.variables.isdisjoint((EFFORT, *SWITCHES))
    if wanted == "enabled" and form.reasoning is None and not can_choose:
        raise UnsupportedParameter(
            "'thinking' of type 'enabled' is not supported by this model: its chat template has no "
            "reasoning. Use 'adaptive' or 'disabled', or a model that reasons.",
            param="thinking",
        )
    if not can_choose:
        return "none" if wanted == "disabled" else None
    if wanted not in ("enabled", "adaptive"):
        return "none"
    effort = given.output_config.effort if given.output_config else None
    return "xhigh" if effort == "max" else effort or DEFAULT_EFFORT
