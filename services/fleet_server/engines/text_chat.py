"""What the chat engines share: the parameters they support, and the text of a conversation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from fleet_contract.errors import BadRequest
from fleet_server.engines.chat_template import TemplateRefusal
from fleet_server.engines.special_text import SpecialText
from fleet_server.protocols import Message, TemplateArguments

SAMPLED = frozenset({
    "seed", "presence_penalty", "frequency_penalty", "repetition_penalty", "top_k", "min_p",
    "tools",
})  # fmt: skip
"""What every chat engine supports."""
BIASED = frozenset({"logit_bias", "logprobs"})
"""What an engine supports that gives and changes logits."""
GUIDED = frozenset({"response_format", "json_schema", "grammar"})
"""What an engine supports that masks tokens by a grammar."""


class Renderer(Protocol):
    """A chat template."""

    def render(
        self, messages: Sequence[Mapping[str, Any]], arguments: TemplateArguments
    ) -> str: ...


def rendered(
    renderer: Renderer,
    special: SpecialText,
    messages: Sequence[Message],
    images: Sequence[Any],
    arguments: TemplateArguments,
) -> str:
    """The prompt of a model without images, with seams in the special tokens of users.

    Raises BadRequest for images, and if the template refuses the messages.
    """
    if images:
        raise BadRequest("This model does not read images.", param="messages")
    history = [
        {**message, "content": text_of(message["content"])} for message in special.seamed(messages)
    ]
    try:
        return renderer.render(history, special.seamed_arguments(arguments))
    except TemplateRefusal as error:
        raise BadRequest(
            f"The model's chat template refuses these messages: {error}", param="messages"
        ) from error


def text_of(content: str | list[dict[str, Any]]) -> str:
    """The text of a message's content."""
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content if part["type"] == "text")
