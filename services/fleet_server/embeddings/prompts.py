"""Prepends the prompt that a request selects by name to its texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fleet_contract.errors import BadRequest
from fleet_server.protocols import EmbeddingModel

SHOWN = 20
"""Maximum number of names listed in an error."""


def apply_prompt(
    inputs: Sequence[str | list[int]], name: str | None, model: EmbeddingModel
) -> Sequence[str | list[int]]:
    """The inputs with the prompt `name`, or with the model's default prompt if `name` is None.

    Token ids are not changed. Raises BadRequest for an unknown name, and for a name together with
    token ids.
    """
    prompts: dict[str, str] = getattr(model, "prompts", {})
    chosen: Any = getattr(model, "default_prompt", None) if name is None else name
    if chosen is None:
        return inputs
    if chosen not in prompts:
        raise _unknown(chosen, prompts)
    if not all(isinstance(each, str) for each in inputs):
        if name is None:
            return inputs
        raise BadRequest(
            "'prompt_name' requires texts; token ids get no prompt.", param="prompt_name"
        )
    prompt = prompts[chosen]
    return [prompt + each for each in inputs if isinstance(each, str)] if prompt else inputs


def _unknown(name: str, prompts: dict[str, str]) -> BadRequest:
    if not prompts:
        why = "this model has no prompts. Put the prompt before the texts"
    else:
        names = [repr(each) for each in prompts][:SHOWN]
        more = f" and {len(prompts) - SHOWN} more" if len(prompts) > SHOWN else ""
        why = f"this model has {', '.join(names)}{more}"
    return BadRequest(f"'prompt_name' is {name[:100]!r}; {why}.", param="prompt_name")
