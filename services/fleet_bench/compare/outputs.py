"""Outputs of a server to compare: sequential requests, not timed, with greedy sampling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import httpx

from fleet_bench.compare.cases import Cases
from fleet_bench.http import post_json
from fleet_bench.recordings import AudioFile
from fleet_bench.sample import Failed


@dataclass(frozen=True, slots=True)
class ModelClient:
    """Requests to one model of a server; `root` ends with `/v1`. Every method raises Failed."""

    http: httpx.AsyncClient
    root: str
    model: str

    async def chat(self, prompt: str, max_tokens: int) -> str:
        """The text of a greedy completion."""
        body = await post_json(
            self.http,
            f"{self.root}/chat/completions",
            json={
                "model": self.model,
                "messages": [{"role": "user", "content": prompt}],
                "max_tokens": max_tokens,
                "temperature": 0,
            },
        )
        try:
            return str(body["choices"][0]["message"]["content"] or "")
        except (KeyError, IndexError, TypeError):
            raise Failed("unexpected response shape") from None

    async def embed(self, text: str) -> list[float]:
        """The vector of a text."""
        content = {"model": self.model, "input": text, "encoding_format": "float"}
        body = await post_json(self.http, f"{self.root}/embeddings", json=content)
        try:
            return [float(value) for value in body["data"][0]["embedding"]]
        except (KeyError, IndexError, TypeError, ValueError):
            raise Failed("unexpected response shape") from None

    async def transcribe(self, recording: AudioFile, language: str | None) -> str:
        """The transcript of a recording."""
        fields = {"model": self.model, "response_format": "json"}
        fields |= {"language": language} if language else {}
        body = await post_json(
            self.http,
            f"{self.root}/audio/transcriptions",
            data=fields,
            files={"file": (recording.name, recording.data)},
        )
        if not isinstance(body.get("text"), str):
            raise Failed("unexpected response shape")
        return str(body["text"])

    async def tokens(self, text: str) -> list[int]:
        """Token ids by POST /tokenize of llama.cpp's server (`content`) or vLLM (`prompt`)."""
        url = f"{self.root.removesuffix('/v1')}/tokenize"
        content = {"model": self.model, "content": text}
        try:
            found = (await post_json(self.http, url, json=content))["tokens"]
        except Failed:
            found = (
                await post_json(self.http, url, json={"model": self.model, "prompt": text})
            ).get("tokens")
        if not isinstance(found, list) or not all(isinstance(token, int) for token in found):
            raise Failed("unexpected response shape")
        return found


async def chat_outputs(client: ModelClient, cases: Cases, max_tokens: int) -> list[str]:
    return [await client.chat(prompt, max_tokens) for prompt in cases.prompts]


async def vectors(client: ModelClient, cases: Cases) -> list[list[float]]:
    return [await client.embed(text) for text in cases.texts]


async def transcripts(client: ModelClient, cases: Cases, language: str | None) -> list[str]:
    return [await client.transcribe(recording, language) for recording in cases.recordings]


async def tokenized(
    clients: Sequence[ModelClient], outputs: Sequence[Sequence[str]]
) -> list[list[list[int]]] | None:
    """The texts of each side as token ids of the first server with /tokenize, else None."""
    for client in clients:
        try:
            return [[await client.tokens(text) for text in texts] for texts in outputs]
        except Failed:
            continue
    return None
