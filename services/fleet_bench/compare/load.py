"""The timed requests of a comparison: equal for both sides, different in every round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import httpx

from fleet_bench.audio import Audio
from fleet_bench.chat import Chat
from fleet_bench.compare.cases import Cases
from fleet_bench.embeddings import Embeddings
from fleet_bench.load import Workload
from fleet_bench.sample import ResponseStats
from fleet_bench.settings import BenchSettings

CHAT_WORDS = 20
EMBEDDING_WORDS = 24


@dataclass(frozen=True, slots=True)
class RequestLoad:
    """`requests` is the number of one side in one round, `batch` the texts of each request."""

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
    """Sends the requests of several workloads in turn, numbered from `first`."""

    workloads: Sequence[Workload]
    first: int

    async def send(self, http: httpx.AsyncClient, number: int) -> ResponseStats:
        number += self.first
        return await self.workloads[number % len(self.workloads)].send(http, number)


def workload(
    task: str, settings: BenchSettings, cases: Cases, load: RequestLoad, first: int
) -> Workload:
    """The requests numbered from `first` for a model of `task` (chat, embedding or speech)."""
    if task == "chat":
        prompts = cases.prompts if cases.own_prompts else (None,)
        return Cycle(
            [Chat(settings, prompt, CHAT_WORDS, load.max_tokens, 0.0) for prompt in prompts], first
        )
    if task == "embedding":
        texts = cases.texts if cases.own_texts else (None,)
        return Cycle(
            [Embeddings(settings, text, EMBEDDING_WORDS, load.batch, "base64") for text in texts],
            first,
        )
    return Cycle([Audio(settings, cases.recordings, load.language, translate=False)], first)
