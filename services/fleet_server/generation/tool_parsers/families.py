"""Chooses the syntax of a model's tool calls from its chat template."""

from __future__ import annotations

from collections.abc import Callable

from fleet_server.generation.tool_parsers import deepseek_calls, gemma_calls, xml_calls
from fleet_server.generation.tool_parsers.call import short_id
from fleet_server.generation.tool_parsers.json_calls import (
    FUNCTOOLS,
    outside_text,
    read_fenced,
    read_functools,
    read_json,
)
from fleet_server.generation.tool_parsers.mistral_calls import MARK, read_mistral
from fleet_server.generation.tool_parsers.python_calls import read_python
from fleet_server.generation.tool_parsers.syntax import Syntax

GEMMA_QUOTE, FUNCTION_GEMMA_QUOTE = '<|"|>', "<escape>"

HERMES = Syntax(
    "hermes", ("<tool_call>",), xml_calls.read_either, "</tool_call>", may_end=xml_calls.may_end
)
"""Qwen, Hermes, Granite 4 and many others."""
LLAMA = Syntax("llama", ("<|python_tag|>",), read_json, leads=("{",))
MISTRAL = Syntax("mistral", (MARK,), read_mistral, tokens=("[ARGS]", "[CALL_ID]"), new_id=short_id)
GEMMA = Syntax(
    "gemma", ("<|tool_call>",), gemma_calls.reader(GEMMA_QUOTE), "<tool_call|>",
    tokens=(GEMMA_QUOTE,), may_end=gemma_calls.outside(GEMMA_QUOTE),
)  # fmt: skip
FUNCTION_GEMMA = Syntax(
    "functiongemma", ("<start_function_call>",), gemma_calls.reader(FUNCTION_GEMMA_QUOTE),
    "<end_function_call>", tokens=(FUNCTION_GEMMA_QUOTE,),
    may_end=gemma_calls.outside(FUNCTION_GEMMA_QUOTE),
)  # fmt: skip
PHI = Syntax(
    "phi", ("<|tool_call|>",), read_functools, "<|/tool_call|>", leads=(f"{FUNCTOOLS}[",),
    may_end=outside_text,
)  # fmt: skip
GRANITE = Syntax("granite", ("<|tool_call|>", "<tool_call>"), read_json)
"""Granite 3."""
DEEPSEEK = Syntax(
    "deepseek", (deepseek_calls.BEGIN,), deepseek_calls.read_deepseek, deepseek_calls.END,
    tokens=(deepseek_calls.ONE_BEGIN, deepseek_calls.ONE_END, deepseek_calls.SEPARATOR),
)  # fmt: skip
LFM2 = Syntax("lfm2", ("<|tool_call_start|>",), read_python, "<|tool_call_end|>")
PLAIN = Syntax(
    "json", ("<tool_call>",), read_fenced, "</tool_call>", leads=("{", "[", "```"),
    may_end=outside_text,
)  # fmt: skip
"""Models without a syntax of their own."""

Recognises = Callable[[str], bool]


def _has(*words: str) -> Recognises:
    return lambda template: all(word in template for word in words)


BY_TEMPLATE: tuple[tuple[Recognises, Syntax], ...] = (
    (_has("<|tool_call>"), GEMMA),
    (_has("<start_function_call>"), FUNCTION_GEMMA),
    (_has(deepseek_calls.BEGIN), DEEPSEEK),
    (_has("<|tool_call_start|>"), LFM2),
    (_has(MARK), MISTRAL),
    (_has("<tool_call>", "</tool_call>"), HERMES),
    (_has("<|tool_call|>", "<|start_of_role|>"), GRANITE),
    (_has("<tool_call>", "<|start_of_role|>"), GRANITE),
    (_has("<|tool|>", "<|/tool|>"), PHI),
    (_has("<|python_tag|>"), LLAMA),
    (_has("ipython", "parameters"), LLAMA),
    (_has("<tool_call>"), HERMES),
)
"""What the chat templates of each family contain; the first that holds applies."""


def syntax_of(template: str) -> Syntax:
    """The syntax of calls of the model with this chat template."""
    return next((syntax for holds, syntax in BY_TEMPLATE if holds(template)), PLAIN)
