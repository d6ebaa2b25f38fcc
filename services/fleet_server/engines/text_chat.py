"""What the chat engines share: the parameters they support, and the text of a conversation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
BOUNDED = frozenset({"reasoning_budget"})
"""What an engine supports that can force the mark at the end of the reasoning."""
BLOCKS = frozenset({"reasoning_blocks"})
"""What an engine supports that finds several blocks of reasoning in a text."""
GUIDED = frozenset({"response_format", "json_schema", "grammar"})
"""What an engine supports that masks tokens by a grammar."""


Content = str | list[dict[str, Any]]
"""The content of a message: a text or parts."""
END = "\ufdd1"
"""Marks the end of a message that is continued: a noncharacter, as `special_text.SEAM`."""
TAIL_TOKENS = 8
"""Last tokens of a continued text to decode with the first generated ones: enough context for
spaces and incomplete characters."""


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
    content: Callable[[Content], Content] | None = None,
) -> str:
    """The prompt, with seams in the special tokens of users.

    `content` converts the contents of messages to what the template takes; without it they are
    texts. Raises BadRequest for images without it, and if the template refuses the messages.
    """
    if images and content is None:
        raise BadRequest("This model does not read images.", param="messages")
    shown = content or text_of
    history = [
        {**message, "content": shown(message["content"])} for message in special.seamed(messages)
    ]
    try:
        text = renderer.render(marked(history, arguments), special.seamed_arguments(arguments))
    except TemplateRefusal as error:
        raise refusal(error) from error
    return cut(text, arguments)


def refusal(error: Exception) -> BadRequest:
    """The error for messages that the chat template refuses, with the template's own reason."""
    return BadRequest(
        f"The model's chat template refuses these messages: {error}", param="messages"
    )


def marked(messages: Sequence[Message], arguments: TemplateArguments) -> list[Message]:
    """The messages; if the last one is to be continued, its content ends with END."""
    if not arguments.continues:
        return list(messages)
    last = messages[-1]
    content = last["content"]
    if isinstance(content, str):
        content += END
    else:
        content = [*content, {"type": "text", "text": END}]
    return [*messages[:-1], {**last, "content": content}]


def cut(text: str, arguments: TemplateArguments) -> str:
    """The prompt of `marked` messages without what the template writes after END, and without open
    reasoning if the arguments want none.

    Raises BadRequest if the template does not show the last message.
    """
    if not arguments.continues:
        return _answering(text, arguments)
    text, found, _ = text.rpartition(END)
    if not found:
        raise BadRequest(
            "The model's chat template does not show the last message, so it cannot be continued.",
            param="messages",
        )
    return text


def _answering(text: str, arguments: TemplateArguments) -> str:
    marks = arguments.no_reasoning
    if marks is None or not arguments.begins_turn:
        return text
    body = text.rstrip()
    if body.endswith(marks.open.rstrip()):
        # As the templates of models that can be told not to reason.
        line = "\n" if text != body else ""
        return f"{text}{line}{marks.close}{2 * line}"
    return f"{text}{marks.open}\n\n{marks.close}\n\n" if marks.always else text


def check_shown(images: int, shown: int) -> None:
    """Raises BadRequest unless the prompt has a placeholder for each of the `images` of its
    messages: templates may leave out those of some roles, or show one twice."""
    if shown != images:
        raise BadRequest(
            f"The model's chat template does not show the images of these messages: they have "
            f"{images}, the prompt has {shown}.",
            param="messages",
        )


def text_of(content: Content) -> str:
    """The text of a message's content."""
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content if part["type"] == "text")
