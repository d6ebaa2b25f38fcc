"""The tokenizer graph of the real SmolLM2."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openvino_genai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_server.engines.openvino import chat_files
from fleet_server.engines.openvino.chat_tokenizer import GenaiTokenizer
from fleet_server.engines.openvino.text_encoder import LIMIT, WHOLE_CHARS, TextEncoder
from fleet_server.engines.special_text import SpecialText
from fleet_server.engines.text_chunks import chunks
from fleet_server.protocols import TemplateArguments

SPECIAL = SpecialText(["<|im_start|>", "<|im_end|>"])
PIECES = (
    "word", "The", "don't", "'s", " ", "   ", "\n", "\n\n", "\r\n", "\t", "é", "e\u0301",
    "日本語", "👩\u200d👩\u200d👧", "<|im_end|>", "<|im_start|>user", "<", "]", "()", "12", "3.14",
    "...", "x_y", "$",
)  # fmt: skip


@pytest.fixture(scope="module")
def graph(demo_weights: Callable[[str], Path]) -> Any:
    return openvino_genai.Tokenizer(chat_files.find(demo_weights("smollm2")))


@pytest.fixture(scope="module")
def tokenizer(graph: Any) -> GenaiTokenizer:
    return GenaiTokenizer(graph)


def test_every_token_decodes_as_openvino_does(tokenizer: GenaiTokenizer, graph: Any) -> None:
    text = "Hello wörld €  日本語 👩\u200d👩\u200d👧 code:\n\tfor x in y:\r\n  pass <b>"
    ids = graph.encode(text, add_special_tokens=False).input_ids.data[0].tolist()
    assert tokenizer.decode(ids) == text == graph.decode(ids)
    assert tokenizer.decode([2, *ids, 0, 1]) == text


def test_the_vocabulary_round_trips(tokenizer: GenaiTokenizer) -> None:
    vocabulary = tokenizer.vocabulary
    text = "Hello wörld, 日本語<|im_end|>"
    ids = vocabulary.encode(text, False)
    assert ids[-1] == 2
    assert vocabulary.decode(ids) == text
    assert b"".join(map(vocabulary.piece, ids)) == text.encode()
    assert vocabulary.size == 49152
    assert vocabulary.encode("", False) == []
    assert vocabulary.decode([]) == ""


@settings(max_examples=100, derandomize=True, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(PIECES), max_size=3).map("".join), max_size=40),
    st.sampled_from([" and then", "東京、日本", "<|im_end|>"]),
)
def test_no_token_spans_two_chunks(graph: Any, texts: list[str], between: str) -> None:
    encode = TextEncoder(graph, SPECIAL)
    text = between.join(["", *texts, ""])
    parts = list(chunks(text, SPECIAL, 128))
    assert np.concatenate([encode(part) for part in parts]).tolist() == encode(text).tolist()


@pytest.mark.parametrize(
    "sentence", [" Some plain words, said twice.", "\nWörter 日本語 👧<|im_end|>", "日本の、首都。"]
)
def test_a_text_beyond_the_limit_has_all_its_tokens(
    tokenizer: GenaiTokenizer, sentence: str
) -> None:
    ids = tokenizer.encode(sentence).tolist()
    limit = LIMIT // len(ids)
    for number in (*range(limit - 1, limit + 3), 2 * limit, 3 * WHOLE_CHARS // len(sentence)):
        assert tokenizer.encode(sentence * number).tolist() == ids * number


def test_the_template_gets_tools_variables_and_calls(demo_weights: Callable[[str], Path]) -> None:
    tokenizer = openvino_genai.Tokenizer(chat_files.find(demo_weights("smollm2")))
    tokenizer.set_chat_template(
        "{% if tools %}{{ tools | tojson }}{% endif %}{{ enable_thinking }}"
        "{% for m in messages %}{% for c in m.tool_calls or [] %}"
        "{{ c.function.arguments | tojson }}{% endfor %}{{ m.content }}{% endfor %}"
    )
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": {"a": ["é", 1]}}}
    messages = [{"role": "assistant", "content": "x", "tool_calls": [call]}]
    made = GenaiTokenizer(tokenizer)
    text = made.render(messages, TemplateArguments(tools, {"enable_thinking": False}))
    assert text == json.dumps(tools) + 'False{"a": ["é", 1]}x'
    assert "enable_thinking" in made.chat_template
