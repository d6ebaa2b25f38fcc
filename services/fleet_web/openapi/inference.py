"""What models are asked: an operation for each path of fleet_contract.endpoints and llama.cpp's."""

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
from fleet_contract.api.rerank import RankedText, RerankBody, RerankResponse
from fleet_contract.api.responses import AnyEvent, Response, ResponsesBody
from fleet_contract.api.speech import (
    SpeechForm,
    TextDelta,
    TextDone,
    TextError,
    Transcription,
    VerboseTranscription,
)
from fleet_contract.api.tokens import Content as TokensText
from fleet_contract.api.tokens import DetokenizeBody, TokenizeBody, Tokens
from fleet_contract.endpoints import TASK_OF_PATH
from fleet_contract.names import HEADER_COLD, HEADER_MODEL, HEADER_QUEUE_MS
from fleet_contract.spec import Task
from fleet_web.openapi.operation import ANYWHERE, EVENTS, FORM, JSON, TEXT, Content, Operation

ERRORS = ANYWHERE | {404, 413, 429, 503, 504}
ANSWERED = (HEADER_MODEL, HEADER_QUEUE_MS, HEADER_COLD)

CHAT = Operation(
    "/v1/chat/completions", "post", "chat", "Write the next turn of a conversation.",
    description="As a stream: events of `ChatChunk`, then `data: [DONE]`. A stream that fails "
    "half-way ends with an error event and without that mark.",
    body=Content(JSON, ChatBody),
    answers=(Content(JSON, ChatCompletion), Content(EVENTS, ChatChunk | ErrorBody, "[DONE]")),
    headers=ANSWERED, errors=ERRORS,
)  # fmt: skip
COMPLETION = replace(
    CHAT, path="/v1/completions", summary="Go on from a text, without a chat template.",
    description=CHAT.description.replace("ChatChunk", "TextChunk"),
    body=Content(JSON, CompletionBody),
    answers=(Content(JSON, TextCompletion), Content(EVENTS, TextChunk | ErrorBody, "[DONE]")),
)  # fmt: skip
RESPONSE = replace(
    CHAT, path="/v1/responses", summary="Write the next turn, in the shape of OpenAI's responses.",
    description="Nothing is kept. As a stream: events that `type` names, the last of them "
    "`response.completed`, `response.incomplete` or `response.failed`.",
    body=Content(JSON, ResponsesBody),
    answers=(Content(JSON, Response), Content(EVENTS, AnyEvent)),
)  # fmt: skip
EMBEDDING = Operation(
    "/v1/embeddings", "post", "embeddings", "Turn texts into vectors.",
    body=Content(JSON, EmbeddingBody), answers=(Content(JSON, EmbeddingList),),
    headers=ANSWERED, errors=ERRORS,
)  # fmt: skip
NATIVE = replace(
    EMBEDDING, path="/embeddings", summary="Turn texts into vectors, in llama.cpp's shape.",
    body=Content(JSON, NativeBody), answers=(Content(JSON, list[NativeEmbedding]),),
)  # fmt: skip
RERANK = Operation(
    "/v1/rerank", "post", "rerank", "Order documents by how well they answer a query.",
    body=Content(JSON, RerankBody), answers=(Content(JSON, RerankResponse | list[RankedText]),),
    headers=ANSWERED, errors=ERRORS,
)  # fmt: skip
TRANSCRIBE = Operation(
    "/v1/audio/transcriptions", "post", "speech", "Write down what is said.",
    description="As a stream: events of `TextDelta`, then one of `TextDone`.",
    body=Content(FORM, SpeechForm),
    answers=(
        Content(JSON, Transcription | VerboseTranscription), Content(TEXT, str),
        Content("text/vtt", str), Content(EVENTS, TextDelta | TextDone | TextError),
    ),
    headers=ANSWERED, errors=ERRORS,
)  # fmt: skip
TRANSLATE = replace(
    TRANSCRIBE, path="/v1/audio/translations", summary="Write down in English what is said.",
    description="Is not streamed.", answers=TRANSCRIBE.answers[:3],
)  # fmt: skip
TOKENIZE = Operation(
    "/tokenize", "post", "tokens", "Cut a text into the model's tokens.",
    body=Content(JSON, TokenizeBody), answers=(Content(JSON, Tokens),), errors=ERRORS,
)  # fmt: skip
DETOKENIZE = replace(
    TOKENIZE, path="/detokenize", summary="Join tokens to a text.",
    body=Content(JSON, DetokenizeBody), answers=(Content(JSON, TokensText),),
)  # fmt: skip

TOKENS = (TOKENIZE, DETOKENIZE)
BY_PATH = {
    operation.path: operation
    for operation in (
        CHAT, COMPLETION, RESPONSE, EMBEDDING, NATIVE, replace(NATIVE, path="/embedding"),
        TRANSCRIBE, TRANSLATE, RERANK,
        *(replace(RERANK, path=path) for path in ("/v1/reranking", "/rerank", "/reranking")),
        *TOKENS,
    )
}  # fmt: skip
"""Every path models are asked on that this project's own servers serve."""


def of_task(task: Task) -> Iterable[Operation]:
    """The operations a model of `task` answers, tokens left out."""
    return [BY_PATH[path] for path, its_task in TASK_OF_PATH.items() if its_task is task]


def refusals(task: Task) -> Iterable[Operation]:
    """The operations a server of `task` refuses, naming the right path."""
    return [
        Operation(
            path, "post", "other tasks", f"Refused: the model does {task.value}.",
            description="Answers `wrong_task` and names the path to use, whatever is sent.",
        )
        for path, its_task in TASK_OF_PATH.items()
        if its_task is not task
    ]  # fmt: skip
