"""How the prompt of a chat ends: with a new turn, or with the last message."""

from __future__ import annotations

from collections.abc import Sequence

from fleet_contract.errors import BadRequest
from fleet_server.generation.conversation import NEW_TURN, Ending
from fleet_server.protocols import Message


def read_ending(begins: bool | None, continues: bool | None, messages: Sequence[Message]) -> Ending:
    """How the prompt ends. Raises BadRequest with `param`."""
    name = "continue_final_message"
    if not continues:
        if begins is False:
            return Ending(generation_prompt=False, param="add_generation_prompt")
        return NEW_TURN
    if begins:
        raise BadRequest(f"{name!r} cannot be combined with 'add_generation_prompt'.", param=name)
    last = messages[-1]
    if last["role"] != "assistant" or last.get("tool_calls"):
        raise BadRequest(
            f"{name!r} requires that the last message is one of the assistant, without tool calls.",
            param=name,
        )
    return Ending(continues=True, generation_prompt=False, param=name)
