"""A pipeline of OpenVINO GenAI in Python, whose requests generate given tokens."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import openvino_genai

from fleet_server.engines.openvino.step_loop import Guide, Sequence, StepLoop
from fleet_server.protocols import Step

END = 2
ENDLESS = None
REFUSED: list[int] = []
"""Instead of the tokens that a sequence generates."""


@dataclass(frozen=True)
class Beginning:
    """The beginning of a long prompt."""

    end: int


class Handle:
    """Generates a token in each step, until `END` or for ever."""

    def __init__(self, tokens: list[int] | None) -> None:
        self.cancelled = False
        self._tokens = tokens
        self._unread: list[int] = []
        self.finish = openvino_genai.GenerationFinishReason.NONE

    @property
    def running(self) -> bool:
        return not self.cancelled and self.finish == openvino_genai.GenerationFinishReason.NONE

    def step(self) -> None:
        token = 7 if self._tokens is None else self._tokens.pop(0)
        self._unread.append(token)
        if token == END:
            self.finish = openvino_genai.GenerationFinishReason.STOP

    def cancel(self) -> None:
        self.cancelled = True

    def can_read(self) -> bool:
        return bool(self._unread)

    def read(self) -> dict[int, Any]:
        generated, self._unread = self._unread, []
        return {0: SimpleNamespace(generated_ids=generated, finish_reason=self.finish)}

    def get_status(self) -> Any:
        status = openvino_genai.GenerationStatus
        return status.RUNNING if self.running else status.FINISHED


class Pipeline:
    """The `input_ids` of a request are the tokens that it generates; `gate` lets steps through."""

    def __init__(self) -> None:
        self.handles: list[Handle] = []
        self.added: list[Any] = []
        """The configurations of the requests; of slices, where they end."""
        self.gate: threading.Semaphore | None = None
        self.in_step = threading.Event()
        self.fail = False
        self.percent = 0.0

    def add_request(self, number: int, input_ids: Any, config: Any) -> Handle:
        if input_ids is REFUSED:
            raise RuntimeError("refused")
        is_slice = isinstance(input_ids, Beginning)
        self.handles.append(Handle([END] if is_slice else input_ids))
        self.added.append(input_ids.end if is_slice else config)
        return self.handles[-1]

    def has_non_finished_requests(self) -> bool:
        return any(handle.running for handle in self.handles)

    def get_metrics(self) -> Any:
        return SimpleNamespace(cache_usage=self.percent)

    def step(self) -> None:
        self.in_step.set()
        if self.gate is not None:
            self.gate.acquire()
        if self.fail:
            raise RuntimeError("the device is gone")
        for handle in self.handles:
            if handle.running:
                handle.step()


class Config:
    structured_output_config: Any = None


class Asked:
    """A submitted sequence and its steps."""

    def __init__(
        self,
        loop: StepLoop,
        tokens: list[int] | None,
        guide: Guide | None = None,
        **prompt: Any,
    ) -> None:
        self.steps: list[Step] = []
        self.config: Any = Config()
        self.sequence = Sequence(tokens, self.config, self.steps.append, guide, **prompt)
        loop.submit(self.sequence)

    @property
    def ids(self) -> list[int]:
        return [token for step in self.steps for token in step.token_ids]

    @property
    def ended(self) -> bool:
        return bool(self.steps) and (
            self.steps[-1].finish is not None or self.steps[-1].error is not None
        )
