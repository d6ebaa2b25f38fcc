"""Chooses the syntax of a model's tool calls from its chat template."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from fleet_server.generation.tool_grammars import gemma
from fleet_server.generation.tool_grammars.dsml import write_dsml
from fleet_server.generation.tool_grammars.harmony import write_harmony
from fleet_server.generation.tool_grammars.marks import DSML
from fleet_server.generation.tool_grammars.python import write_python
from fleet_server.generation.tool_grammars.xml import write_xml
from fleet_server.generation.tool_parsers import (
    deepseek_calls,
    dsml_calls,
    gemma_calls,
    xml_calls,
)
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
from fleet_server.generation.tool_parsers.syntax import CallForm, Syntax

GEMMA_QUOTE, FUNCTION_GEMMA_QUOTE = '<|"|>', "<escape>"

JSON_CALL = CallForm('{"name": "NAME", "arguments": ', "}")
JSON_LIST = replace(JSON_CALL, begin="[", between=", ", end="]")
PYTHON_LIST = replace(JSON_LIST, write=write_python)

HERMES = Syntax(
    "hermes", ("<tool_call>",), xml_calls.read_either, "</tool_call>", may_end=xml_calls.may_end,
    form=JSON_CALL,
)  # fmt: skip
"""Qwen, Hermes, Granite 4 and many others."""
XML = replace(HERMES, name="xml", form=replace(JSON_CALL, write=write_xml))
"""Qwen3-Coder and Qwen3.5."""
LLAMA = Syntax(
    "llama", ("<|python_tag|>",), read_json, leads=("{",),
    form=CallForm('{"name": "NAME", "parameters": ', "}"),
)  # fmt: skip
LLAMA4 = Syntax(
    "llama4", ("<|python_start|>",), read_python, "<|python_end|>", leads=("[",),
    may_end=outside_text, form=PYTHON_LIST,
)  # fmt: skip
"""Llama 4, and Llama 3.2 with Python calls."""
MISTRAL = Syntax(
    "mistral", (MARK,), read_mistral, tokens=("[ARGS]", "[CALL_ID]"), new_id=short_id,
    form=JSON_LIST,
)  # fmt: skip
MISTRAL_ARGS = replace(MISTRAL, name="mistral-args", form=CallForm("NAME[ARGS]"))
"""Since 2025."""
GEMMA = Syntax(
    "gemma", ("<|tool_call>",), gemma_calls.reader(GEMMA_QUOTE), "<tool_call|>",
    tokens=(GEMMA_QUOTE,), may_end=gemma_calls.outside(GEMMA_QUOTE),
    form=CallForm("call:NAME", write=gemma.writer(GEMMA_QUOTE)),
)  # fmt: skip
FUNCTION_GEMMA = Syntax(
    "functiongemma", ("<start_function_call>",), gemma_calls.reader(FUNCTION_GEMMA_QUOTE),
    "<end_function_call>", tokens=(FUNCTION_GEMMA_QUOTE,),
    may_end=gemma_calls.outside(FUNCTION_GEMMA_QUOTE),
    form=CallForm("call:NAME", write=gemma.writer(FUNCTION_GEMMA_QUOTE)),
)  # fmt: skip
PHI = Syntax(
    "phi", ("<|tool_call|>",), read_functools, "<|/tool_call|>", leads=(f"{FUNCTOOLS}[",),
    may_end=outside_text, form=JSON_LIST,
)  # fmt: skip
GRANITE = Syntax("granite", ("<|tool_call|>", "<tool_call>"), read_json, form=JSON_LIST)
"""Granite 3."""
DEEPSEEK = Syntax(
    "deepseek", (deepseek_calls.BEGIN,), deepseek_calls.read_deepseek, deepseek_calls.END,
    tokens=(deepseek_calls.ONE_BEGIN, deepseek_calls.ONE_END, deepseek_calls.SEPARATOR),
    form=CallForm(
        f"{deepseek_calls.ONE_BEGIN}function{deepseek_calls.SEPARATOR}NAME\n```json\n",
        f"\n```{deepseek_calls.ONE_END}", between="\n",
    ),
)  # fmt: skip
DEEPSEEK_31 = replace(
    DEEPSEEK, name="deepseek-v3.1",
    form=CallForm(
        f"{deepseek_calls.ONE_BEGIN}NAME{deepseek_calls.SEPARATOR}", deepseek_calls.ONE_END,
        between="",
    ),
)  # fmt: skip
DEEPSEEK_32 = Syntax(
    "deepseek-v3.2", (dsml_calls.BEGIN,), dsml_calls.read_dsml, dsml_calls.END,
    tokens=(DSML,),
    form=CallForm(
        f'<{DSML}invoke name="NAME">\n', f"\n</{DSML}invoke>", between="\n", write=write_dsml
    ),
)  # fmt: skip
LFM2 = Syntax("lfm2", ("<|tool_call_start|>",), read_python, "<|tool_call_end|>", form=PYTHON_LIST)
PLAIN = Syntax(
    "json", ("<tool_call>",), read_fenced, "</tool_call>", leads=("{", "[", "```"),
    may_end=outside_text, form=replace(JSON_CALL, between="\n"),
)  # fmt: skip
"""Models without a syntax of their own."""

HARMONY = Syntax("harmony", (), read_json, whole=write_harmony)
"""gpt-oss, whose whole text fleet_server.generation.tool_parsers.harmony parses."""

Recognises = Callable[[str], bool]


def _has(*words: str) -> Recognises:
    return lambda template: all(word in template for word in words)


BY_TEMPLATE: tuple[tuple[Recognises, Syntax], ...] = (
    (_has("<|tool_call>"), GEMMA),
    (_has("<start_function_call>"), FUNCTION_GEMMA),
    (_has(dsml_calls.BEGIN), DEEPSEEK_32),
    (_has(deepseek_calls.BEGIN, "```json"), DEEPSEEK),
    (_has(deepseek_calls.BEGIN), DEEPSEEK_31),
    (_has("<|tool_call_start|>"), LFM2),
    (_has(MARK, "[ARGS]"), MISTRAL_ARGS),
    (_has(MARK), MISTRAL),
    (_has("<tool_call>", "<function="), XML),
    (_has("<tool_call>", "</tool_call>"), HERMES),
    (_has("<|tool_call|>", "<|start_of_role|>"), GRANITE),
    (_has("<tool_call>", "<|start_of_role|>"), GRANITE),
    (_has("<|tool|>", "<|/tool|>"), PHI),
    (_has("<|python_start|>"), LLAMA4),
    (_has("<|python_tag|>"), LLAMA),
    (_has("ipython", "parameters"), LLAMA),
    (_has("<tool_call>"), HERMES),
)
"""What the chat templates of each family contain; the first that holds applies."""


def syntax_of(template: str) -> Syntax:
    """The syntax of calls of the model with this chat template."""
    return next((syntax for holds, syntax in BY_TEMPLATE if holds(template)), PLAIN)
