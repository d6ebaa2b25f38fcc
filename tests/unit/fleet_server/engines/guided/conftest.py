"""A vocabulary in which every token is a byte, and token 256 ends a text."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fleet_server.engines.guided.compiler import GrammarCompiler, GuidedVocabulary

TOKENS = GuidedVocabulary(
    pieces=[*(bytes([byte]) for byte in range(256)), b"<end>"],
    special=[256],
    stop_ids=[256],
    encode=lambda text: list(text.encode()),
)


@pytest.fixture
def compiler() -> Iterator[GrammarCompiler]:
    made = GrammarCompiler(TOKENS)
    yield made
    made.close()
