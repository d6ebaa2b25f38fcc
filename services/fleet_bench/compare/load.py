"""The timed requests of a comparison: the same for both sides, others in every round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import httpx

from fleet_bench.audio import Audio
from fleet_bench.chat import Chat
from fleet_bench.compare.cases import Cases
from fleet_bench.embeddings import Embeddings
from fleet_bench.load import Workload
from fleet_bench.plan import Plan
from fleet_bench.sample import Answer

CHAT_WORDS = 20
EMBEDDING_WORDS = 24


@dataclass(frozen=True, slots=True)
class Load:
    """`requests` are of one round of one side; `batch` are texts in each embeddings request."""

    requests: int
    concurrency: int
    rounds: int
    warmup: int
    max_tokens: int
    batch: int
    language: str | None
    timeout: float


@dataclass(frozen=True, slots=True)
class Cycle:
    """Sends the requests of several workloads in turn, counted from `first`."""

    workloads: Sequence[Workload]
    first: int

    async def send(self, http: httpx.AsyncClient, number: int) -> Answer:
        number += self.first
        return await self.workloads[number % len(self.workloads)].send(http, number)


def workload(task: str, plan: Plan, cases: Cases, load: Load, first: int) -> Workload:
    """The requests numbered from `first` for a model of `task` (chat, embedding or speech)."""
    if task == "chat":
        prompts = cases.prompts if cases.own_prompts else (None,)
        return Cycle(
            [Chat(plan, prompt, CHAT_WORDS, load.max_tokens, 0.0) for prompt in prompts], first
        )
    if task == "embedding":
        texts = cases.texts if cases.own_texts else (None,)
        return Cycle(
            [Embeddings(plan, text, EMBEDDING_WORDS, load.batch, "base64") for text in texts],
            first,
        )
    return Cycle([Audio(plan, cases.recordings, load.language, translate=False)], first)
