"""The POST operations of models: each path of fleet_contract.endpoints, and llama.cpp's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from fleet_contract.api.base import ErrorBody
from fleet_contract.api.chat import ChatBody, ChatChunk, ChatCompletion
from fleet_contract.api.completions import CompletionBody, TextChunk, TextCompletion
from fleet_contract.api.embeddings import (
    EmbeddingBody,
    EmbeddingList,
    NativeBody,
    NativeEmbedding,
)
from fleet_contract.api.message_events import AnyMessageEvent, MessageErrorBody, MessageResponse
from fleet_contract.api.messages import CountTokensBody, MessagesBody, TokenCount
from fleet_contract.api.rerank import RankedText, RerankBody, RerankResponse
from fleet_contract.api.response_events import AnyEvent
from fleet_contract.api.responses import Response, ResponsesBody
from fleet_contract.api.speech import (
    SpeechForm,
    TextDelta,
    TextDone,
    TextError,
    Transcription,
    VerboseTranscription,
)
from fleet_contract.api.tokens import (
    ChatPrompt,
    DetokenizeBody,
    PromptTokens,
    TemplateBody,
    TemplatedPrompt,
    TokenizeBody,
    TokenizeChatBody,
    Tokens,
)
from fleet_contract.api.tokens import Content as TokensText
from fleet_contract.endpoints import TASK_OF_PATH
from fleet_contract.names import (
    HEADER_COLD,
    HEADER_DECODE_MS,
    HEADER_FIRST_TOKEN_MS,
    HEADER_MODEL,
    HEADER_PROMPT_MS,
    HEADER_QUEUE_MS,
    HEADER_UNENFORCED,
)
from fleet_contract.spec import Task
from fleet_web.openapi.operation import (
    COMMON_ERRORS,
    EVENTS,
    FORM,
    JSON,
    TEXT,
    MediaType,
    Operation,
)

ERRORS = COMMON_ERRORS | {404, 413, 415, 429, 503, 504}
RESPONSE_HEADERS = (HEADER_MODEL, HEADER_QUEUE_MS, HEADER_COLD)
TIMINGS = (HEADER_PROMPT_MS, HEADER_FIRST_TOKEN_MS, HEADER_DECODE_MS)
"""Of whole responses; a stream has them in its last chunk."""

CHAT = Operation(
    "/v1/chat/completions", "post", "chat", "Generate the next message of a conversation.",
    description="A stream consists of `ChatChunk` events and ends with `data: [DONE]`. A stream "
    "that fails ends with an error event instead.",
    body=MediaType(JSON, ChatBody),
    responses=(MediaType(JSON, ChatCompletion), MediaType(EVENTS, ChatChunk | ErrorBody, "[DONE]")),
    headers=RESPONSE_HEADERS, some_headers=(*TIMINGS, HEADER_UNENFORCED), errors=ERRORS,
)  # fmt: skip
COMPLETION = replace(
    CHAT, path="/v1/completions", summary="Continue a text, without a chat template.",
    description=CHAT.description.replace("ChatChunk", "TextChunk"),
    body=MediaType(JSON, CompletionBody),
    responses=(MediaType(JSON, TextCompletion), MediaType(EVENTS, TextChunk | ErrorBody, "[DONE]")),
)  # fmt: skip
RESPONSE = replace(
    CHAT, path="/v1/responses", summary="Generate the next message, in the responses format.",
    description="Responses are not stored. The events of a stream have a `type`; the last one is "
    "`response.completed`, `response.incomplete` or `response.failed`.",
    body=MediaType(JSON, ResponsesBody),
    responses=(MediaType(JSON, Response), MediaType(EVENTS, AnyEvent)),
)  # fmt: skip
MESSAGE = replace(
    CHAT, path="/v1/messages", summary="Generate the next message, in Anthropic's format.",
    description="The events of a stream have a `type`; the last one is `message_stop`, or `error` "
    "if the stream failed.",
    body=MediaType(JSON, MessagesBody),
    responses=(MediaType(JSON, MessageResponse), MediaType(EVENTS, AnyMessageEvent)),
    error=MessageErrorBody,
)  # fmt: skip
COUNT_TOKENS = replace(
    MESSAGE, path="/v1/messages/count_tokens", summary="Count the tokens of a message's prompt.",
    description="", body=MediaType(JSON, CountTokensBody), responses=(MediaType(JSON, TokenCount),),
)  # fmt: skip
EMBEDDING = Operation(
    "/v1/embeddings", "post", "embeddings", "Embed texts.",
    body=MediaType(JSON, EmbeddingBody), responses=(MediaType(JSON, EmbeddingList),),
    headers=RESPONSE_HEADERS, errors=ERRORS,
)  # fmt: skip
NATIVE = replace(
    EMBEDDING, path="/embeddings", summary="Embed texts, in llama.cpp's format.",
    body=MediaType(JSON, NativeBody), responses=(MediaType(JSON, list[NativeEmbedding]),),
)  # fmt: skip
RERANK = Operation(
    "/v1/rerank", "post", "rerank", "Rank documents by relevance to a query.",
    body=MediaType(JSON, RerankBody),
    responses=(MediaType(JSON, RerankResponse | list[RankedText]),),
    headers=RESPONSE_HEADERS, errors=ERRORS,
)  # fmt: skip
TRANSCRIBE = Operation(
    "/v1/audio/transcriptions", "post", "speech", "Transcribe a recording.",
    description="A stream consists of `TextDelta` events and ends with a `TextDone` event.",
    body=MediaType(FORM, SpeechForm),
    responses=(
        MediaType(JSON, Transcription | VerboseTranscription), MediaType(TEXT, str),
        MediaType("text/vtt", str), MediaType(EVENTS, TextDelta | TextDone | TextError),
    ),
    headers=RESPONSE_HEADERS, errors=ERRORS,
)  # fmt: skip
TRANSLATE = replace(
    TRANSCRIBE, path="/v1/audio/translations", summary="Translate a recording into English.",
    description="Streaming is not supported.", responses=TRANSCRIBE.responses[:3],
)  # fmt: skip
TOKENIZE = Operation(
    "/tokenize", "post", "tokens", "Tokenize a text.",
    body=MediaType(JSON, TokenizeBody), responses=(MediaType(JSON, Tokens),), errors=ERRORS,
)  # fmt: skip
TOKENIZE_CHAT = replace(
    TOKENIZE, summary="Tokenize a text, or the prompt of a conversation.",
    body=MediaType(JSON, TokenizeBody | TokenizeChatBody),
    responses=(MediaType(JSON, Tokens | PromptTokens),),
)  # fmt: skip
TEMPLATE = replace(
    TOKENIZE, path="/apply-template", summary="The prompt of a conversation, as text.",
    body=MediaType(JSON, TemplateBody), responses=(MediaType(JSON, TemplatedPrompt),),
)  # fmt: skip
RENDER = replace(
    TOKENIZE, path="/v1/chat/completions/render", summary="The prompt of a chat, all checked.",
    body=CHAT.body, responses=(MediaType(JSON, ChatPrompt),),
)  # fmt: skip
DETOKENIZE = replace(
    TOKENIZE, path="/detokenize", summary="Turn tokens into text.",
    body=MediaType(JSON, DetokenizeBody), responses=(MediaType(JSON, TokensText),),
)  # fmt: skip

BY_PATH = {
    operation.path: operation
    for operation in (
        CHAT, COMPLETION, RESPONSE, MESSAGE, COUNT_TOKENS,
        EMBEDDING, NATIVE, replace(NATIVE, path="/embedding"), TRANSCRIBE, TRANSLATE, RERANK,
        *(replace(RERANK, path=path) for path in ("/v1/reranking", "/rerank", "/reranking")),
        replace(RERANK, path="/v2/rerank", summary="Rank documents, in the format of Cohere's v2."),
        TOKENIZE_CHAT, TEMPLATE, RENDER, DETOKENIZE,
    )
}  # fmt: skip
"""Every POST operation that this project's own servers support."""


def token_operations(task: Task) -> Iterable[Operation]:
    """The operations on tokens of a model of `task`."""
    if task is Task.SPEECH:
        return ()
    return (TOKENIZE_CHAT if task is Task.CHAT else TOKENIZE), DETOKENIZE


def task_operations(task: Task) -> Iterable[Operation]:
    """The operations of a model of `task`, except those on tokens."""
    return [BY_PATH[path] for path, its_task in TASK_OF_PATH.items() if its_task is task]


def wrong_task_operations(task: Task) -> Iterable[Operation]:
    """The operations of other tasks, which a server of `task` refuses with the right path."""
    return [
        Operation(
            path, "post", "other tasks", f"Refused: the model's task is {task.value}.",
            description="Always an error (code `wrong_task`) that names the path to use.",
            error=BY_PATH[path].error,
        )
        for path, its_task in TASK_OF_PATH.items()
        if its_task is not task
    ]  # fmt: skip
