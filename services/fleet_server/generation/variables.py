"""The variables that a request sets in the chat template."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fleet_contract.errors import UnsupportedParameter
from fleet_server.generation.chat_format import ChatFormat

EFFORT = "reasoning_effort"
SWITCHES = ("enable_thinking", "thinking")
"""Variables that turn reasoning on and off: of Qwen3, SmolLM3 and GLM; of DeepSeek and Granite."""


def read_variables(
    given: Mapping[str, Any], effort: str | None, form: ChatFormat, *, guided: bool
) -> dict[str, Any]:
    """The variables of the template in `given`, and those for `reasoning_effort`.

    Reasoning in front of a guided text is off unless the request turns it on.
    Raises UnsupportedParameter for an effort that the template cannot express.
    """
    chosen = {name: value for name, value in given.items() if name in form.variables}
    switch = next((name for name in SWITCHES if name in form.variables), None)
    found: dict[str, Any] = {}
    if effort is not None:
        found = _of_effort(effort, switch, form)
    elif guided and switch is not None:
        found = {switch: False}
    return found | chosen


def wants_reasoning(variables: Mapping[str, Any], effort: str | None) -> bool:
    """Whether a request with these variables of the template turns reasoning on itself."""
    switches = [variables[name] for name in SWITCHES if name in variables]
    return any(switches) if switches else effort not in (None, "none")


def _of_effort(effort: str, switch: str | None, form: ChatFormat) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if EFFORT in form.variables:
        found[EFFORT] = effort
    if switch is not None:
        found[switch] = effort != "none"
    if not found and effort != "none":
        raise UnsupportedParameter(
            f"'reasoning_effort' {effort!r} is not supported by this model: its chat template has "
            f"no variable for it.",
            param="reasoning_effort",
        )
    return found
