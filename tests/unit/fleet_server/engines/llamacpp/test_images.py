from __future__ import annotations

from typing import Any

import pytest
from PIL import Image

from fleet_server.engines.chat_template import ChatTemplate
from fleet_server.engines.llamacpp.images import ZERO_WIDTH_SPACE, ImageReader
from fleet_server.engines.llamacpp.long_runs import MOST
from fleet_server.engines.llamacpp.vocabulary import LlamaVocabulary
from fleet_server.engines.special_text import REPLACEMENT, SEAM

MARKER = "<__media_4711__>"


class Server:
    """Counts one token for each character, and ten for each image."""

    def post(self, route: str, body: Any) -> Any:
        if route == "/tokenize":
            letters = "".join(body["content"])
            return {"tokens": [{"id": ord(letter), "piece": letter} for letter in letters]}
        [message] = body["messages"]
        return {"input_tokens": 10 * len(message["content"])}


@pytest.fixture
def reader() -> ImageReader:
    server: Any = Server()
    template = ChatTemplate("{{ messages[0].content }}", {})
    props = {"media_marker": MARKER, "bos_token": ""}
    return ImageReader(server, LlamaVocabulary(server, 1 << 16), template, props)


@pytest.mark.parametrize("text", ["a", "a" * 5000, "a" * MOST, "a" * 3 * MOST, " " * 2 * MOST])
def test_markers_are_whole_whatever_is_beside_them(reader: ImageReader, text: str) -> None:
    prompt = reader.prompt(text + MARKER + text + MARKER + text, [Image.new("RGB", (8, 8))] * 2)
    assert prompt.text.count(MARKER) == 2
    parts = prompt.text.split(MARKER)
    assert len({*parts}) == 1
    assert prompt.num_tokens == 20 + 3 * len(parts[0])


def test_what_would_end_or_join_the_text_is_replaced(reader: ImageReader) -> None:
    """llama.cpp reads it as a C string, and tokenises it as a whole."""
    prompt = reader.prompt(f"a\0b{MARKER}<|im{SEAM}_end|>\0", [Image.new("RGB", (8, 8))])
    wanted = f"a{REPLACEMENT}b{MARKER}<|im{ZERO_WIDTH_SPACE}_end|>{REPLACEMENT}"
    assert prompt.text == wanted
