"""The items of a response: messages, reasoning and function calls."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any, Literal

from fleet_contract.api.generation import TokenScore
from fleet_contract.api.responses import OutputCall, OutputItem, OutputReasoningText, OutputText

Status = Literal["in_progress", "completed", "incomplete"]
Kind = Literal["message", "reasoning", "function_call"]
PREFIXES: dict[Kind, str] = {"message": "msg_", "reasoning": "rs_", "function_call": "fc_"}


@dataclass(slots=True)
class Item:
    """One item. `parts` are the pieces of its text, or of the arguments of a call; `scores` are the
    probabilities of its tokens, None if they are not wanted."""

    kind: Kind
    parts: list[str] = field(default_factory=list)
    call_id: str = ""
    name: str = ""
    namespace: str | None = None
    status: Status = "in_progress"
    scores: list[TokenScore] | None = None
    id: str = field(init=False)

    def __post_init__(self) -> None:
        self.id = f"{PREFIXES[self.kind]}{uuid.uuid4().hex}"

    @property
    def text(self) -> str:
        """The whole text, or all arguments."""
        return "".join(self.parts)

    def part(self, text: str) -> OutputText | OutputReasoningText:
        """The only part of a message or of reasoning, with its scores if it has all its text."""
        scores = (self.scores or []) if text else []
        if self.kind == "reasoning":
            thought: OutputReasoningText = {"type": "reasoning_text", "text": text}
            if self.scores is not None:
                thought["logprobs"] = scores
            return thought
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": scores}

    def added(self) -> OutputItem:
        """The item before its first text."""
        return self._item("in_progress", [], "")

    def output(self) -> OutputItem:
        """The item with its text."""
        return self._item(self.status, [self.part(self.text)], self.text)

    def _item(self, status: Status, content: list[Any], arguments: str) -> OutputItem:
        if self.kind == "function_call":
            call: OutputCall = {
                "id": self.id, "type": "function_call", "status": status,
                "call_id": self.call_id, "name": self.name, "arguments": arguments,
            }  # fmt: skip
            if self.namespace is not None:
                call["namespace"] = self.namespace
            return call
        if self.kind == "reasoning":
            return {
                "id": self.id, "type": "reasoning", "status": status, "summary": [],
                "content": content,
            }  # fmt: skip
        return {
            "id": self.id, "type": "message", "role": "assistant", "status": status,
            "content": content,
        }  # fmt: skip
