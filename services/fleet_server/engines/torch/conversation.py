"""Converts messages to token ids and back: tokenizer, image processor and chat template."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jinja2
from transformers import AutoProcessor, AutoTokenizer

from fleet_contract.errors import BadRequest, TooLarge
from fleet_server.engines.encoder_files.vocabulary import encode_parts
from fleet_server.engines.special_text import SEAM, SpecialText, texts_in
from fleet_server.engines.text_chat import TAIL_TOKENS, check_shown, cut, marked, refusal, text_of
from fleet_server.engines.torch.checkpoint import ModelFolder
from fleet_server.engines.torch.runtime import is_out_of_memory
from fleet_server.load_error import LoadError
from fleet_server.protocols import ENDING_CHARS, Message, Prompt, TemplateArguments

logger = logging.getLogger(__name__)

NO_MEMORY = "The images of this request do not fit into the free memory."
ZERO_WIDTH_SPACE = "\u200b"
IMAGE_WORDS = ("image_token", "video_token", "vision_start_token", "vision_end_token", "boi_token")


@dataclass(frozen=True, slots=True)
class ChatInput:
    """A tokenised conversation. `pixels` are the additional inputs for images."""

    token_ids: list[int]
    pixels: dict[str, Any] = field(default_factory=dict)


class Conversation:
    """Applies the chat template and tokenises. Thread-safe."""

    def __init__(self, checkpoint: ModelFolder, *, multimodal: bool) -> None:
        folder = str(checkpoint.folder)
        self._processor: Any = None
        if multimodal:
            self._processor = AutoProcessor.from_pretrained(folder, **checkpoint.source)
            self.tokenizer: Any = self._processor.tokenizer
        else:
            self.tokenizer = AutoTokenizer.from_pretrained(folder, **checkpoint.source)
        self._renderer: Any = self._processor or self.tokenizer
        if not self._renderer.chat_template:
            raise LoadError(
                f"{checkpoint.folder.name} has no chat template.",
                "It is not a chat model, or its chat_template.jinja was not fetched.",
            )
        self.chat_template = _source(self._renderer.chat_template)
        # transformers reconfigures a fast tokenizer in each call, which is not thread-safe.
        self._lock = threading.Lock()
        self._reserved = _reserved(self._processor)
        placeholder = getattr(self._processor, "image_token", None)
        self._placeholder = placeholder if isinstance(placeholder, str) else ""
        """What the template writes for an image; empty for processors without it."""
        self._special = SpecialText(_special(self.tokenizer))

    def prompt(
        self, messages: Sequence[Message], images: Sequence[Any], arguments: TemplateArguments
    ) -> Prompt:
        """Raises BadRequest if the template or the processor refuses."""
        if images and self._processor is None:
            raise BadRequest("This model does not read images.", param="messages")
        text = self.render(messages, arguments)
        ending = text[-ENDING_CHARS:]
        if images:
            if self._placeholder:
                check_shown(len(images), shown=text.count(self._placeholder))
            # The processor tokenises the whole text: an invisible character has to part it.
            prompt = self._with_images(text.replace(SEAM, ZERO_WIDTH_SPACE), images)
            return replace(prompt, ending=ending)
        ids = self._ids(text.split(SEAM))
        tail = ids[-TAIL_TOKENS:] if arguments.continues else ()
        return Prompt(len(ids), ChatInput(ids), tail, ending, ids)

    def _ids(self, parts: Sequence[str]) -> list[int]:
        """The token ids of parts that are tokenised one by one."""
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        with self._lock:
            if backend is None:  # a tokenizer implemented in Python
                each = [self.tokenizer(part, add_special_tokens=False) for part in parts]
                return [token for found in each for token in found["input_ids"]]
            # A processor of images may have enabled them.
            if backend.truncation is not None:
                backend.no_truncation()
            if backend.padding is not None:
                backend.no_padding()
            return encode_parts(backend, parts, add_special=False)

    def prompt_of(self, token_ids: Sequence[int]) -> Prompt:
        """A prompt of the given tokens. Raises BadRequest for an image's tokens."""
        ids = list(token_ids)
        for word in self._reserved:
            if self.tokenizer.convert_tokens_to_ids(word) in ids:
                raise BadRequest(
                    f"The prompt must not contain {word!r}, which represents an image.",
                    param="prompt",
                )
        return Prompt(len(ids), ChatInput(ids))

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text without special tokens; an incomplete character at the end gives U+FFFD."""
        text: str = self.tokenizer.decode(
            list(token_ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text

    def render(self, messages: Sequence[Message], arguments: TemplateArguments) -> str:
        """The text of a prompt, with seams in the special tokens of users. Raises BadRequest."""
        for each in texts_in([*messages, *arguments.tools, arguments.variables]):
            self._check(each)
        messages = self._special.seamed(messages)
        arguments = self._special.seamed_arguments(arguments)
        if self._processor is None:
            messages = [{**message, "content": text_of(message["content"])} for message in messages]
        try:
            text: str = self._renderer.apply_chat_template(
                marked(messages, arguments),
                tools=list(arguments.tools) or None,
                add_generation_prompt=arguments.begins_turn,
                tokenize=False,
                **arguments.variables,
            )
        except (jinja2.TemplateError, TypeError, ValueError) as error:
            raise refusal(error) from error
        return cut(text, arguments)

    def _check(self, text: str) -> None:
        for word in self._reserved:
            if word in text:
                raise BadRequest(
                    f"The text of a message must not contain {word!r}, which represents an image.",
                    param="messages",
                )

    def _with_images(self, text: str, images: Sequence[Any]) -> Prompt:
        try:
            with self._lock:
                made = self._processor(
                    text=[text], images=list(images), add_special_tokens=False, return_tensors="pt"
                )
        except Exception as error:  # processors raise many types for sizes such as 900 x 1
            if is_out_of_memory(error):
                raise TooLarge(NO_MEMORY, param="messages") from error
            if not isinstance(error, ValueError):
                logger.exception("the processor of images failed")
            raise BadRequest(
                f"The model's processor refuses the images: {error}",
                param="messages", code="invalid_image",
            ) from error  # fmt: skip
        ids = made.pop("input_ids")[0].tolist()
        made.pop("attention_mask", None)
        return Prompt(len(ids), ChatInput(ids, dict(made)))


def _source(template: str | dict[str, str]) -> str:
    """The template of chats; a repository may have several by name."""
    return template if isinstance(template, str) else template.get("default", "")


def _special(tokenizer: Any) -> list[str]:
    added = getattr(tokenizer, "added_tokens_decoder", {})
    return [token.content for token in added.values() if token.special]


def _reserved(processor: Any) -> tuple[str, ...]:
    words = [getattr(processor, name, None) for name in IMAGE_WORDS]
    return tuple(word for word in words if isinstance(word, str) and word)
