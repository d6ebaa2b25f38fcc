"""Prepares a chat: messages and arguments for the template, and the parser of the text."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from fleet_contract.errors import UnsupportedParameter
from fleet_server.engines.special_text import SEAM
from fleet_server.generation import chat_format
from fleet_server.generation.chat_format import ChatFormat
from fleet_server.generation.formats.reasoned import after_reasoning, can_follow_reasoning
from fleet_server.generation.options import GenerationOptions
from fleet_server.generation.output import (
    CallParser,
    OutputParser,
    Parser,
    VisibleMarks,
    visible_marks,
)
from fleet_server.generation.reasoning import ReasoningMarks, ReasoningSplitter, opened_by
from fleet_server.generation.render import Renderer
from fleet_server.generation.run import PreparedPrompt
from fleet_server.generation.tool_parsers import harmony
from fleet_server.generation.tool_parsers.block_parser import BlockParser
from fleet_server.generation.tool_parsers.call_grammar import guided_syntax
from fleet_server.generation.tool_parsers.forced_call import ForcedCall
from fleet_server.generation.tool_parsers.harmony import HarmonyParser
from fleet_server.generation.tool_parsers.syntax import Syntax
from fleet_server.generation.tool_prompt import with_tools
from fleet_server.generation.tools import ToolUse
from fleet_server.generation.variables import read_variables, wants_reasoning
from fleet_server.protocols import (
    ChatModel,
    Message,
    NoReasoning,
    OutputFormat,
    Prompt,
    ReasoningBudget,
    TemplateArguments,
)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a prompt ends: with the text of the last message (`continues`), or with the beginning of
    the model's turn (`generation_prompt`). `param` is the field that asks for another ending."""

    continues: bool = False
    generation_prompt: bool = True
    param: str = "messages"


NEW_TURN = Ending()
CONTINUED = Ending(continues=True, generation_prompt=False)


@dataclass(frozen=True, slots=True)
class Conversation:
    """A chat for a model, and what its text may contain.

    `guided`: the text follows a grammar, which allows any text besides calls if it is `free`.
    `ending`: how the prompt ends. `reasoning_tokens` is the most that the text may have. The text
    reasons before it follows the format `reasoned`, or does not with `no_reasoning`.
    """

    messages: list[Message]
    variables: Mapping[str, Any]
    tools: ToolUse
    form: ChatFormat
    guided: bool
    ending: Ending = NEW_TURN
    free: bool = False
    reasoning_tokens: int | None = None
    reasoned: OutputFormat | None = None
    no_reasoning: NoReasoning | None = None

    def prompt(self, model: ChatModel, images: Sequence[Any]) -> Prompt:
        """Apply the chat template and tokenise. Raises BadRequest."""
        if "tools" not in model.supports:
            if self.ending is not NEW_TURN:
                raise without_template(self.ending.param)
            return model.prompt(self.messages, images)
        messages, arguments = self._templated
        templated: Any = model
        prompt: Prompt = templated.prompt(messages, images, arguments)
        return prompt

    def text(self, model: ChatModel) -> str:
        """The text that the chat template gives. Raises BadRequest."""
        render = getattr(model, "render", None)
        if render is None:
            raise without_template("model")
        messages, arguments = self._templated
        return str(render(messages, arguments)).replace(SEAM, "")

    @property
    def _templated(self) -> tuple[list[Message], TemplateArguments]:
        """Messages and arguments for the template."""
        definitions = self.tools.definitions
        if self.form.tools:
            messages = _with_arguments(self.messages, as_text=self.form.arguments_as_text)
        else:
            messages = with_tools(self.messages, definitions)
            definitions = []
        ending = self.ending
        return messages, TemplateArguments(
            definitions, self.variables, ending.continues, ending.generation_prompt,
            self.no_reasoning,
        )  # fmt: skip

    def prepared(self, model: ChatModel, prompt: Prompt, renderer: Renderer) -> PreparedPrompt:
        """The prompt with the parser of its text."""
        return PreparedPrompt(
            (prompt,),
            renderer,
            partial(self.parser, prompt),
            self.decoder(model),
            reasoning=self.budget(model, prompt),
            output=self._output(prompt),
        )

    def _output(self, prompt: Prompt) -> OutputFormat | None:
        """The format that depends on the prompt."""
        marks = self._reasoning
        if self.reasoned is None or marks is None:
            return None
        return after_reasoning(self.reasoned, marks, is_open=opened_by(prompt.ending, marks))

    def budget(self, model: ChatModel, prompt: Prompt) -> ReasoningBudget | None:
        """The bound on the reasoning of one text, None if it has none, or cannot be bounded."""
        marks, tokens = self._reasoning, self.reasoning_tokens
        if tokens is None or "reasoning_budget" not in model.supports:
            return None
        if self.form.harmony and (not self.guided or self.free):
            if "reasoning_blocks" not in model.supports:
                return None
            return harmony.bounded(tokens, with_tools=bool(self.tools.tools))
        if marks is None:
            return None
        return ReasoningBudget(tokens, marks.open, marks.close, opened_by(prompt.ending, marks))

    def decoder(self, model: ChatModel) -> Callable[[Sequence[int]], str] | None:
        """Decodes tokens so that the marks in the text are visible; None if `decode` does."""
        marks = self.form.marks if not self.guided or self.free else ()
        if self.tools.tools and not self.tools.required:
            marks += self._syntax.marks
        visible = visible_marks(model, marks)
        return VisibleMarks(model.decode, visible) if visible else None

    def parser(self, prompt: Prompt) -> Parser:
        """The parser of one text."""
        calls: CallParser | None = None
        if self.tools.required:
            calls = ForcedCall(self._syntax.new_id, single=not self.tools.several)
        elif self.form.harmony and (not self.guided or self.free):
            return HarmonyParser(self.tools.schemas, single=not self.tools.parallel)
        elif self.tools.tools:
            calls = BlockParser(self._syntax, self.tools.schemas, single=not self.tools.parallel)
        reasoning = None
        if (marks := self._reasoning) is not None:
            reasoning = ReasoningSplitter(marks, is_open=opened_by(prompt.ending, marks))
        return OutputParser(reasoning, calls)

    @property
    def _reasoning(self) -> ReasoningMarks | None:
        """The marks of the reasoning, None for a text without."""
        return self.form.reasoning if not self.guided or self.free else None

    @property
    def _syntax(self) -> Syntax:
        syntax = self.form.call_syntax
        return guided_syntax(syntax) if self.guided else syntax


def conversation(
    model: ChatModel,
    messages: list[Message],
    options: GenerationOptions,
    effort: str | None,
    variables: Mapping[str, Any] | None = None,
    ending: Ending = NEW_TURN,
) -> Conversation:
    """A chat for `model`. Raises UnsupportedParameter."""
    form, output = chat_format.read(getattr(model, "chat_template", "")), options.output
    guided = output is not None
    free = output is not None and output.free
    found = read_variables(variables or {}, effort, form, guided=guided and not free)
    reasoned, no_reasoning, marks = None, None, form.reasoning
    if marks is not None and output is not None and not free:
        begins = ending is NEW_TURN and "grammar" in model.supports
        if begins and wants_reasoning(found, effort) and can_follow_reasoning(output, marks):
            reasoned, free = output, True
        else:
            no_reasoning = NoReasoning(marks.open, marks.close)
    elif marks is not None and effort == "none" and not found:
        no_reasoning = NoReasoning(marks.open, marks.close, always=True)
    return Conversation(
        messages, found, options.tools, form, guided, ending, free, options.reasoning_tokens,
        reasoned, no_reasoning,
    )  # fmt: skip


def without_template(param: str) -> UnsupportedParameter:
    """The error for an engine that hides its chat template."""
    return UnsupportedParameter(
        f"{param!r}: this model's engine hides its chat template; engines that do not: openvino, "
        "llamacpp, torch, vllm.",
        param=param,
    )


def _with_arguments(messages: Sequence[Message], *, as_text: bool) -> list[Message]:
    """The messages, with the arguments of calls as the template wants them."""
    return [
        {**message, "tool_calls": [_call(each, as_text=as_text) for each in message["tool_calls"]]}
        if message.get("tool_calls")
        else message
        for message in messages
    ]


def _call(call: Mapping[str, Any], *, as_text: bool) -> dict[str, Any]:
    function = call["function"]
    if as_text:
        text = json.dumps(function["arguments"], ensure_ascii=False)
        function = {**function, "arguments": text}
    return {**call, "function": function}
