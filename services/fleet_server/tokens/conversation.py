"""The prompt of a conversation: its text and its tokens, without generating."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import Response
from pydantic import ValidationError

from fleet_contract.api.tokens import (
    PromptTokens,
    TemplateBody,
    TemplatedPrompt,
    TokenizeChatBody,
)
from fleet_contract.errors import BadRequest, UnsupportedParameter
from fleet_contract.spec import ModelSpec
from fleet_server.chat.ending import read_ending
from fleet_server.chat.messages import num_chars, read_messages
from fleet_server.chat.tool_messages import uses_tools
from fleet_server.generation.conversation import Conversation, conversation
from fleet_server.generation.options import GenerationOptions
from fleet_server.generation.parameters import without_tools
from fleet_server.generation.run import check_length
from fleet_server.generation.tools import CHAT_TOOLS, read_tools
from fleet_server.protocols import ChatModel, Prompt, Vocabulary
from fleet_web.errors import from_validation
from fleet_web.responses import json_response


class PromptReader:
    """Reads the conversation of a body for `model`. Raises BadRequest with `param`."""

    def __init__(
        self,
        raw: Mapping[str, Any],
        known: type[TemplateBody],
        spec: ModelSpec,
        model: ChatModel,
        vocabulary: Vocabulary,
    ) -> None:
        try:
            given = known.model_validate(raw)
        except ValidationError as error:
            raise from_validation(error, raw) from None
        self._model = model
        self._vocabulary = vocabulary
        self._with_texts = isinstance(given, TokenizeChatBody) and given.return_token_strs
        self._chat = _read(given, spec, model)

    def tokens(self) -> Response:
        """The tokens, in vLLM's format."""
        numbers = token_ids_of(self._chat.prompt(self._model, []))
        texts = None
        if self._with_texts:
            piece = self._vocabulary.piece
            texts = [piece(each).decode("utf-8", "replace") for each in numbers]
        content: PromptTokens = {
            "count": len(numbers),
            "max_model_len": self._model.context_length,
            "tokens": numbers,
            "token_strs": texts,
        }
        return json_response(content)

    def text(self) -> Response:
        """The text, in llama.cpp's format."""
        content: TemplatedPrompt = {"prompt": self._chat.text(self._model)}
        return json_response(content)


def token_ids_of(prompt: Prompt) -> list[int]:
    """The tokens of a conversation. Raises UnsupportedParameter."""
    if prompt.token_ids is None:
        raise UnsupportedParameter(
            "This model's engine does not give the tokens of a conversation; engines that do: "
            "openvino, llamacpp, torch, vllm.",
            param="messages",
        )
    return [int(each) for each in prompt.token_ids]


def check_images(urls: Sequence[str]) -> None:
    """Raises BadRequest for a conversation with images."""
    if urls:
        raise BadRequest(
            "Images are not read here; /v1/messages/count_tokens counts them.", param="messages"
        )


def _read(given: TemplateBody, spec: ModelSpec, model: ChatModel) -> Conversation:
    messages, images = read_messages(given.messages, spec)
    check_images(images)
    tools = read_tools(given.tools, given.tool_choice, None, CHAT_TOOLS)
    if "tools" not in model.supports and (tools.tools or uses_tools(messages)):
        raise without_tools("tools" if tools.tools else "messages")
    options = GenerationOptions(max_tokens=1, temperature=0, top_p=1, tools=tools)
    ending = read_ending(given.add_generation_prompt, given.continue_final_message, messages)
    variables = given.chat_template_kwargs
    check_length(num_chars(messages) + tools.num_chars, model.context_length, "messages")
    return conversation(model, messages, options, given.reasoning_effort, variables, ending)
