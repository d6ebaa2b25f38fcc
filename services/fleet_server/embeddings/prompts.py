"""Puts the prompt a request names before each of its texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fleet_contract.errors import BadRequest
from fleet_server.protocols import EmbeddingModel

SHOWN = 20
"""Names listed in an error."""


def apply_prompt(
    inputs: Sequence[str | list[int]], name: str | None, model: EmbeddingModel
) -> Sequence[str | list[int]]:
    """The inputs with the prompt `name`, or the model's default one where `name` is None.

    Token ids are left as they are. Raises BadRequest for a name the model does not have, and for
    a name given with token ids.
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
            "'prompt_name' goes with texts; token ids are used as they are.", param="prompt_name"
        )
    prompt = prompts[chosen]
    return [prompt + each for each in inputs if isinstance(each, str)] if prompt else inputs


def _unknown(name: str, prompts: dict[str, str]) -> BadRequest:
    if not prompts:
        why = "this model's files name no prompts. Put the prompt before the texts"
    else:
        names = [repr(each) for each in prompts][:SHOWN]
        more = f" and {len(prompts) - SHOWN} more" if len(prompts) > SHOWN else ""
        why = f"this model has {', '.join(names)}{more}"
    return BadRequest(f"'prompt_name' is {name[:100]!r}; {why}.", param="prompt_name")
