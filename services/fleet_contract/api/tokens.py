"""POST /tokenize, /detokenize and /apply-template, as in llama.cpp's server and in vLLM's, and the
response of /v1/chat/completions/render."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, SkipValidation
from typing_extensions import TypedDict

from fleet_contract.api.base import JsonBody
from fleet_contract.api.chat import Message, ModelMessage, ToolMessage
from fleet_contract.api.tools import (
    AllowedTools,
    Effort,
    Mode,
    NamedTool,
    TemplateVariables,
    Tools,
)

TokenId = Annotated[int, Field(ge=0, lt=2**31)]


class TokenizeBody(JsonBody):
    """A text to tokenize."""

    model: str | None = None
    """Id or alias."""
    content: str = Field(examples=["A text."])
    add_special: bool = False
    """Adds the special tokens that the model's template puts around a text, such as `[CLS]`."""
    parse_special: bool = False
    """Whether special tokens written in the text are parsed as such; in a message of a chat they
    are text."""
    with_pieces: bool = False
    """Whether each token is returned with its text."""


class TemplateBody(JsonBody):
    """A conversation, as in chat completions; other fields of theirs have no effect."""

    model: str | None = None
    """Id or alias."""
    # Each is checked by the server, whose errors name its position.
    messages: list[SkipValidation[Message | ModelMessage | ToolMessage]] = Field(
        min_length=1, examples=[[{"role": "user", "content": "Name a colour."}]]
    )
    """The conversation, of text only."""
    tools: SkipValidation[Tools | None] = None
    """The functions that the model may call."""
    tool_choice: SkipValidation[Mode | NamedTool | AllowedTools | None] = None
    """With `none` the model gets no tools, with `allowed_tools` those alone."""
    reasoning_effort: Effort | None = None
    chat_template_kwargs: TemplateVariables | None = None
    """Variables of the chat template."""
    add_generation_prompt: bool | None = None
    """Whether the prompt ends with the beginning of the model's turn; true by default."""
    continue_final_message: bool | None = None
    """Whether the prompt ends with the text of the last message, one of the assistant."""


class TokenizeChatBody(TemplateBody):
    """A conversation to tokenize, in vLLM's format."""

    return_token_strs: bool = False
    """Whether the tokens are also returned as texts."""


class PromptTokens(TypedDict):
    """The tokens of a conversation. `max_model_len` is the model's context, `token_strs` are the
    texts of the tokens, null unless requested."""

    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str] | None


class TemplatedPrompt(TypedDict):
    """The text that the chat template gives."""

    prompt: str


class ChatPrompt(TypedDict):
    """What a chat would send to the model. `max_tokens` is the most that the response may have
    within the model's context, which is `max_model_len`; `prompt` is the text that the chat
    template gives, and `token_ids` are its tokens."""

    object: Literal["chat.completion.prompt"]
    model: str
    prompt: str
    token_ids: list[int]
    prompt_tokens: int
    max_tokens: int
    max_model_len: int


class DetokenizeBody(JsonBody):
    """Tokens to turn into text."""

    model: str | None = None
    """Id or alias."""
    tokens: list[SkipValidation[TokenId]] = Field(examples=[[5, 6, 7]])
    """Ids in the model's vocabulary."""


class TokenPiece(TypedDict):
    """A token and its text, or its bytes where they are not valid UTF-8."""

    id: int
    piece: str | list[int]


class Tokens(TypedDict):
    """Token ids, with their pieces if requested."""

    tokens: list[int] | list[TokenPiece]


class Content(TypedDict):
    """The text of the tokens, special ones included."""

    content: str
