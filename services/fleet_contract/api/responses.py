"""POST /v1/responses (platform.openai.com/docs/api-reference/responses), stateless."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import ConfigDict, Field, SkipValidation
from typing_extensions import TypedDict

from fleet_contract.api.base import JsonBody, Positive, add_no_ops
from fleet_contract.api.formats import NamedSchema
from fleet_contract.api.generation import MOST_LOGPROBS, TokenScore
from fleet_contract.api.tools import Effort, ResponseToolChoice, ResponseTools

Text = Annotated[str, Field(min_length=1)]
Metadata = dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]]
MOST_METADATA = 16
LOGPROBS = "message.output_text.logprobs"
Include = Literal["message.output_text.logprobs", "reasoning.encrypted_content"]


class InputText(TypedDict):
    """A text; `output_text` is from an earlier response."""

    type: Literal["input_text", "output_text"]
    text: str


class InputImage(TypedDict):
    """An image, for models that accept images: a data URL, or an http(s) URL if the server is
    allowed to fetch it."""

    type: Literal["input_image"]
    image_url: Text


class InputMessage(TypedDict):
    """A message to the model. `developer` is treated as `system`."""

    type: NotRequired[Literal["message"]]
    role: Literal["system", "developer", "user"]
    content: str | Annotated[list[InputText | InputImage], Field(min_length=1)]


class ModelMessage(TypedDict):
    """An earlier message of the model; without `content` its text is empty."""

    type: NotRequired[Literal["message"]]
    role: Literal["assistant"]
    content: NotRequired[str | list[InputText | InputImage] | None]


class InputCall(TypedDict):
    """A function call of an earlier response; `arguments` is the text of a JSON object."""

    type: Literal["function_call"]
    call_id: Text
    name: Text
    arguments: str
    namespace: NotRequired[Text | None]


class InputCallOutput(TypedDict):
    """The result of a function call. Its images follow as a message of the user."""

    type: Literal["function_call_output"]
    call_id: Text
    output: str | list[InputText | InputImage]


class ReasoningText(TypedDict):
    """The text of reasoning."""

    type: Literal["reasoning_text"]
    text: str


class InputReasoning(TypedDict):
    """Reasoning of an earlier response, for templates that show it to the model; summaries and
    encrypted reasoning have no effect."""

    type: Literal["reasoning"]
    content: NotRequired[list[ReasoningText] | None]


Item = InputMessage | ModelMessage | InputCall | InputCallOutput | InputReasoning
Items = Annotated[list[Item], Field(min_length=1)]


class ReasoningOptions(JsonBody):
    """How much the model reasons."""

    effort: Effort | None = None
    """For models whose chat template has it or can turn reasoning off."""
    summary: Literal["auto", "concise", "detailed"] | None = None
    """Has no effect: the reasoning itself is returned."""


class TextSchema(NamedSchema):
    """The format of the text, as chats have it in `response_format`."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    """`json_schema` requires an engine that supports it (openvino, llamacpp, torch, vllm)."""


class TextOptions(JsonBody):
    """Options of the text."""

    format: TextSchema | None = None
    verbosity: Literal["medium"] | None = None
    """Has no effect."""


NO_OP_VALUES: dict[str, tuple[Any, ...]] = {
    "previous_response_id": (None,),
    "conversation": (None,),
    "background": (None, False),
    "prompt": (None,),
    "max_tool_calls": (None,),
    "truncation": (None, "disabled"),
    "stream_options": (None, {}, {"include_obfuscation": False}),
}
"""Parameters no in-process engine supports here, with the values that have no effect."""


def _add_no_ops(schema: dict[str, Any]) -> None:
    add_no_ops(schema, NO_OP_VALUES)


class ResponsesBody(JsonBody):
    """The supported parameters, with OpenAI's ranges."""

    model_config = ConfigDict(json_schema_extra=_add_no_ops)

    model: str | None = None
    """Id or alias. Optional if only one model serves chat."""
    input: SkipValidation[Text | Items] = Field(examples=["Name a colour."])
    """A user message, or the conversation, with calls of functions and their results."""
    instructions: str | None = None
    """A system message before the conversation."""
    max_output_tokens: Positive | None = None
    """Maximum number of new tokens."""
    temperature: float | None = Field(default=None, ge=0, le=2)
    """0 is greedy."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """Nucleus sampling: probability mass to sample from."""
    stream: bool | None = None
    """Whether the response is streamed as server-sent events."""
    tools: SkipValidation[ResponseTools | None] = None
    """The functions that the model may call."""
    tool_choice: SkipValidation[ResponseToolChoice | None] = None
    """Whether the model may call tools (`auto`, the default with tools), must not (`none`), or must
    call one (`required`, or a tool), and which tools. A call that must be made follows the tool's
    schema."""
    parallel_tool_calls: bool | None = None
    """Whether a response may have several calls; true by default."""
    text: TextOptions | None = None
    reasoning: ReasoningOptions | None = None
    store: bool | None = None
    """Has no effect: responses are not stored, and `store` is false in the response."""
    metadata: SkipValidation[Annotated[Metadata, Field(max_length=MOST_METADATA)]] | None = None
    """Returned in the response."""
    user: str | None = None
    """Has no effect."""
    include: Annotated[list[Include], Field(fail_fast=True)] | None = None
    """`message.output_text.logprobs` gives each token the logarithm of its probability;
    `reasoning.encrypted_content` has no effect."""
    top_logprobs: int | None = Field(default=None, ge=0, le=MOST_LOGPROBS)
    """Number of the most probable tokens at each place, with that value of `include`."""


class OutputText(TypedDict):
    """The generated text."""

    type: Literal["output_text"]
    text: str
    annotations: list[Any]
    logprobs: list[TokenScore]


class OutputMessage(TypedDict):
    """The generated message."""

    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    status: Literal["in_progress", "completed", "incomplete"]
    content: list[OutputText]


class OutputCall(TypedDict):
    """A function call; `arguments` is the text of a JSON object. `namespace` is that of a function
    in one."""

    id: str
    type: Literal["function_call"]
    status: Literal["in_progress", "completed", "incomplete"]
    call_id: str
    name: str
    arguments: str
    namespace: NotRequired[str]


class OutputReasoningText(ReasoningText):
    """The text of reasoning, with the probabilities of its tokens if those of the text are
    included."""

    logprobs: NotRequired[list[TokenScore]]


class OutputReasoning(TypedDict):
    """The reasoning before an answer."""

    id: str
    type: Literal["reasoning"]
    status: Literal["in_progress", "completed", "incomplete"]
    summary: list[Any]
    content: list[OutputReasoningText]


OutputItem = OutputMessage | OutputCall | OutputReasoning


class Incomplete(TypedDict):
    """Why a response is incomplete."""

    reason: Literal["max_output_tokens"]


class Failure(TypedDict):
    """Why a response failed."""

    code: Literal["server_error"]
    message: str


class CachedTokens(TypedDict):
    """How many of the input's tokens were in a cache; 0 for engines that do not count them."""

    cached_tokens: int
    cache_write_tokens: int


class ReasoningTokens(TypedDict):
    """How many of the output's tokens are reasoning."""

    reasoning_tokens: int


class ResponseUsage(TypedDict):
    """Input and output tokens."""

    input_tokens: int
    input_tokens_details: CachedTokens
    output_tokens: int
    output_tokens_details: ReasoningTokens
    total_tokens: int


class Reasoning(TypedDict):
    """The effort of the request."""

    effort: str | None
    summary: None


class TextFormat(TypedDict):
    """The format of the request; the other fields are those of a schema."""

    type: Literal["text", "json_object", "json_schema"]
    name: NotRequired[str | None]
    description: NotRequired[str | None]
    strict: NotRequired[bool | None]
    schema: NotRequired[dict[str, Any]]


class TextConfig(TypedDict):
    """The format of the response."""

    format: TextFormat


class Response(TypedDict):
    """A response, complete or in progress; `usage` is last, where the router expects it."""

    id: str
    object: Literal["response"]
    created_at: int
    status: Literal["in_progress", "completed", "incomplete", "failed"]
    background: Literal[False]
    error: Failure | None
    incomplete_details: Incomplete | None
    instructions: str | None
    max_output_tokens: int | None
    model: str
    output: list[OutputItem]
    parallel_tool_calls: bool
    previous_response_id: None
    reasoning: Reasoning
    store: Literal[False]
    temperature: float
    text: TextConfig
    tool_choice: ResponseToolChoice
    tools: list[Any]
    top_p: float
    truncation: Literal["disabled"]
    user: str | None
    metadata: dict[str, str]
    usage: ResponseUsage | None
