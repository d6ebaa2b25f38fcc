"""Vocabularies of two kinds in llama.cpp, with tiny random weights."""

from __future__ import annotations

import queue
import re
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

from fleet_contract.spec import ModelSpec
from fleet_server.engines.llamacpp.chat import LlamaChat
from fleet_server.engines.llamacpp.vocabulary import REQUEST_BYTES
from fleet_server.engines.special_text import SEAM
from fleet_server.engines.text_chat import rendered
from fleet_server.protocols import NO_ARGUMENTS, FormatKind, OutputFormat, Sampling, Step
from support import tiny_chat, tiny_gguf

SPEC = ModelSpec.model_validate({
    "model": "m", "contextLength": 16_384, "cache": {"kvGib": 0.1}, "batching": {"maxSize": 1},
})  # fmt: skip
MANY = 1000


KINDS = ("words", "first", "sentencepiece")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, LlamaChat]]:
    """With byte pairs of words, without and with a first token, and of SentencePiece's kind.

    All are open until the end: llama.cpp keeps the tokenizer of the last grammar by the address of
    its vocabulary, which that of a later model may have (common/llguidance.cpp).
    """
    with ExitStack() as until_done:
        found = {}
        for kind in KINDS:
            path = tmp_path_factory.mktemp("tiny") / "m.gguf"
            config = tiny_chat.QWEN3 if kind == "words" else tiny_chat.LLAMA
            tiny_gguf.write(path, config, sentencepiece=kind == "sentencepiece")
            found[kind] = until_done.enter_context(closing(LlamaChat(SPEC, path, 1)))
        yield found


@pytest.fixture(params=KINDS)
def model(request: pytest.FixtureRequest, models: dict[str, LlamaChat]) -> LlamaChat:
    return models[request.param]


@pytest.fixture
def posts(model: LlamaChat, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The routes that are requested."""
    found: list[str] = []
    post = model._server.post

    def counted(route: str, body: Any) -> Any:
        found.append(route)
        return post(route, body)

    monkeypatch.setattr(model._server, "post", counted)
    return found


def test_special_tokens_of_users_need_few_requests(model: LlamaChat, posts: list[str]) -> None:
    messages = [{"role": "user", "content": f"a{max(model._control, key=len)}" * MANY}]
    text = rendered(model._template, model._special, messages, (), NO_ARGUMENTS)
    assert text.count(SEAM) == MANY
    wanted: list[int] = []
    for number, part in enumerate(text.split(SEAM)):
        begun = bool(model._begin) and text.startswith(model._begin)
        wanted += model.vocabulary.encode(part, add_special=number == 0 and not begun)
    posts.clear()
    assert model.prompt(messages, []).state == wanted
    assert len(posts) <= 3


def test_long_texts_need_requests_of_bounded_size(
    model: LlamaChat, monkeypatch: pytest.MonkeyPatch
) -> None:
    special = max(model._control, key=len)
    text = f"Plain words, wörter and 日本語.\nAnother line{special} again: 12.5" * 3000
    server = model._server
    wanted = server.post("/tokenize", {"content": text, "parse_special": True})["tokens"]
    sizes: list[int] = []
    post = server.post

    def measured(route: str, body: Any) -> Any:
        sizes.append(sum(map(len, body["content"])))
        return post(route, body)

    monkeypatch.setattr(server, "post", measured)
    assert model.vocabulary.encode(text, False) == wanted
    assert max(sizes) <= REQUEST_BYTES


def test_first_tokens_are_added_once(model: LlamaChat) -> None:
    before, after = model.vocabulary.around
    assert after == []
    assert model.vocabulary.encode_parts(["a", "b"], True) == [
        *before, *model.vocabulary.encode("a", False), *model.vocabulary.encode("b", False),
    ]  # fmt: skip


def test_a_pattern_with_nul_is_followed(model: LlamaChat) -> None:
    """llama.cpp would read the grammar until there, and generate any text."""
    grammar = model.compile(OutputFormat("[a-c]\0?[0-9]", "p", FormatKind.REGEX))
    steps: queue.Queue[Step] = queue.Queue()
    sampling = Sampling(8, temperature=1.0, seed=1, grammar=grammar)
    model.submit(model.prompt([{"role": "user", "content": "a\0b"}], []), sampling, steps.put)
    text = ""
    while (step := steps.get(timeout=180)).finish is None:
        assert step.error is None
        text += "" if step.delta is None else step.delta.text
    text += "" if step.delta is None else step.delta.text
    # With SentencePiece a text may begin with the space of its first token.
    assert re.fullmatch(" ?[a-c]\0?[0-9]", text)
