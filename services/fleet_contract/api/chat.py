"""POST /v1/chat/completions (platform.openai.com/docs/api-reference/chat)."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import ConfigDict, Field, SkipValidation
from typing_extensions import TypedDict

from fleet_contract.api.base import LARGEST, Positive, add_no_ops
from fleet_contract.api.generation import (
    MOST_LOGPROBS,
    GenerationBody,
    GenerationUsage,
    TimingValues,
    TokenScore,
)
from fleet_contract.api.tools import (
    AllowedTools,
    CalledFunction,
    Effort,
    Mode,
    NamedTool,
    TemplateVariables,
    ToolCalls,
    Tools,
)

Role = Literal["system", "developer", "user", "assistant", "tool"]
Text = Annotated[str, Field(min_length=1)]
Bound = Annotated[int, Field(ge=-1, le=LARGEST)]


class TextPart(TypedDict):
    """A text."""

    type: Literal["text"]
    text: str


class ImageAddress(TypedDict):
    """A data URL, or an http(s) URL if the server is allowed to fetch it."""

    url: Text


class ImagePart(TypedDict):
    """An image, for models that accept images."""

    type: Literal["image_url"]
    image_url: ImageAddress


class Message(TypedDict):
    """A message to the model. `developer` is treated as `system`."""

    role: Literal["system", "developer", "user"]
    content: str | Annotated[list[TextPart | ImagePart], Field(min_length=1)]


class ModelMessage(TypedDict):
    """An earlier message of the model; without `content` its text is empty."""

    role: Literal["assistant"]
    content: NotRequired[str | list[TextPart | ImagePart] | None]
    tool_calls: NotRequired[ToolCalls | None]
    reasoning_content: NotRequired[str | None]
    """Earlier reasoning, for templates that show it to the model."""
    reasoning: NotRequired[str | None]
    """Another name of `reasoning_content`, which has precedence."""


class ToolMessage(TypedDict):
    """The result of a tool call."""

    role: Literal["tool"]
    tool_call_id: Text
    content: str | list[TextPart]


NO_OP_VALUES: dict[str, tuple[Any, ...]] = {
    "functions": (None, []),
    "function_call": (None, "none", "auto"),
    "audio": (None,),
    "modalities": (None, ["text"]),
    "prediction": (None,),
    "web_search_options": (None,),
    "verbosity": (None,),
}
"""Parameters no in-process engine supports, with the values that have no effect."""


def _add_no_ops(schema: dict[str, Any]) -> None:
    add_no_ops(schema, NO_OP_VALUES)


class ChatBody(GenerationBody):
    """The supported parameters, with OpenAI's ranges."""

    model_config = ConfigDict(json_schema_extra=_add_no_ops)

    # Each is checked by the server, whose errors name its position.
    messages: list[SkipValidation[Message | ModelMessage | ToolMessage]] = Field(
        min_length=1, examples=[[{"role": "user", "content": "Name a colour."}]]
    )
    """The conversation."""
    max_tokens: Positive | None = None
    """Older name of `max_completion_tokens`."""
    max_completion_tokens: Positive | None = None
    """Maximum number of new tokens."""
    tools: SkipValidation[Tools | None] = None
    """The functions that the model may call."""
    tool_choice: SkipValidation[Mode | NamedTool | AllowedTools | None] = None
    """Whether the model may call tools (`auto`, the default with tools), must not (`none`), or must
    call one (`required`, or a tool), and which tools. A call that must be made follows the tool's
    schema."""
    parallel_tool_calls: bool | None = None
    """Whether a message may have several calls; true by default."""
    logprobs: bool | None = None
    """Whether each token has the logarithm of its probability."""
    top_logprobs: int | None = Field(default=None, ge=0, le=MOST_LOGPROBS)
    """With `logprobs`, number of the most probable tokens at each place."""
    reasoning_effort: Effort | None = None
    """For models whose chat template has it or can turn reasoning off."""
    thinking_budget: Bound | None = None
    """Most tokens of reasoning, after which the answer begins; -1 is any number."""
    thinking_token_budget: Bound | None = None
    """vLLM's name of `thinking_budget`, which has precedence."""
    chat_template_kwargs: TemplateVariables | None = None
    """Variables of the chat template, such as `enable_thinking`; others have no effect."""
    add_generation_prompt: bool | None = None
    """Whether the prompt ends with the beginning of the model's turn; true by default."""
    continue_final_message: bool | None = None
    """Whether the model continues the last message, one of the assistant, instead of writing a new
    one; the response has only the new text. Not with `add_generation_prompt` true."""


class GeneratedCall(TypedDict):
    """A tool call."""

    id: str
    type: Literal["function"]
    function: CalledFunction


class AssistantMessage(TypedDict):
    """The generated message; `content` is null if there are only tool calls. `reasoning` repeats
    `reasoning_content`: clients read one or the other."""

    role: Literal["assistant"]
    content: str | None
    refusal: None
    reasoning_content: NotRequired[str]
    reasoning: NotRequired[str]
    tool_calls: NotRequired[list[GeneratedCall]]


class ChatLogprobs(TypedDict):
    """All generated tokens, also those of reasoning and of tool calls."""

    content: list[TokenScore]
    refusal: None


class ChatChoice(TypedDict):
    """One of the `n` choices."""

    index: int
    message: AssistantMessage
    logprobs: ChatLogprobs | None
    finish_reason: str


class ChatCompletion(TypedDict):
    """A complete response."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: GenerationUsage


class FunctionDelta(TypedDict):
    """The name, once, and pieces of the arguments."""

    name: NotRequired[str]
    arguments: str


class CallDelta(TypedDict):
    """The beginning of a tool call, with `id` and name, or more of its arguments."""

    index: int
    id: NotRequired[str]
    type: NotRequired[Literal["function"]]
    function: FunctionDelta


class Delta(TypedDict):
    """New content: first the role, then text, reasoning and tool calls, empty at the end."""

    role: NotRequired[Literal["assistant"]]
    content: NotRequired[str]
    reasoning_content: NotRequired[str]
    reasoning: NotRequired[str]
    tool_calls: NotRequired[list[CallDelta]]


class ChunkChoice(TypedDict):
    """`finish_reason` is null until the last choice."""

    index: int
    delta: Delta
    logprobs: ChatLogprobs | None
    finish_reason: str | None


class ChatChunk(TypedDict):
    """An event of a stream, of one choice. With `include_usage`, the last one has the usage and no
    choices."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: NotRequired[GenerationUsage | None]
    timings: NotRequired[TimingValues]
