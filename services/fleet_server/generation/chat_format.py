"""What a chat template reveals about its model: reasoning, the syntax of tools, variables."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from fleet_server.engines.chat_template import variables
from fleet_server.generation.reasoning import ReasoningMarks, marks_in
from fleet_server.generation.tool_parsers import harmony
from fleet_server.generation.tool_parsers.families import HARMONY, PLAIN, syntax_of
from fleet_server.generation.tool_parsers.syntax import Syntax

ARGUMENTS_AS_TEXT = re.compile(
    r"""\+\s*[\w.\[\]'"]*(?:\.|\[['"])arguments(?:['"]\])?\s*(?:\+|\)|-?[}%]\})"""
)
"""A template that joins the arguments of a call to a text, as those of DeepSeek do."""
RESERVED = frozenset({
    "add_generation_prompt", "audio", "bos_token", "chat_template", "cls_token",
    "continue_final_message", "conversation", "documents", "eos_token", "images", "load_audio",
    "mask_token", "max_length", "messages", "pad_token", "padding", "processor_kwargs",
    "return_assistant_tokens_mask", "return_dict", "return_tensors", "sep_token", "tokenize",
    "tokenizer_kwargs", "tools", "truncation", "unk_token", "video", "videos",
})  # fmt: skip
"""Variables, and parameters of transformers' `apply_chat_template`, that requests cannot set."""


@dataclass(frozen=True, slots=True)
class ChatFormat:
    """`tools`: whether the template shows tools to the model; `syntax` is that of its calls.
    `variables` are those a request may set."""

    tools: bool
    syntax: Syntax
    reasoning: ReasoningMarks | None
    variables: frozenset[str]
    arguments_as_text: bool
    harmony: bool = False

    @property
    def call_syntax(self) -> Syntax:
        """The syntax of calls; a template without tools gets them as text."""
        if self.harmony:
            return HARMONY
        return self.syntax if self.tools else PLAIN

    @property
    def marks(self) -> tuple[str, ...]:
        """The texts in a generated text that may be special tokens of reasoning."""
        if self.harmony:
            return harmony.MARKS
        return () if self.reasoning is None else (self.reasoning.open, self.reasoning.close)


@lru_cache(maxsize=16)
def read(template: str) -> ChatFormat:
    """The format of the model with this chat template, Jinja or empty."""
    names = variables(template)
    return ChatFormat(
        tools="tools" in names,
        syntax=syntax_of(template),
        reasoning=marks_in(template),
        variables=names - RESERVED,
        harmony=harmony.is_harmony(template),
        arguments_as_text=ARGUMENTS_AS_TEXT.search(template) is not None,
    )
