"""Answers to compare: one request after another, whole, and not timed; chats are greedy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import httpx

from fleet_bench.compare.cases import Cases
from fleet_bench.http import post_json
from fleet_bench.recordings import Recording
from fleet_bench.sample import Failed


@dataclass(frozen=True, slots=True)
class Asker:
    """A model at a server; `root` ends with `/v1`. Every method raises Failed."""

    http: httpx.AsyncClient
    root: str
    model: str

    async def chat(self, prompt: str, max_tokens: int) -> str:
        """The greedy answer's text."""
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
            raise Failed("answer of another shape") from None

    async def embed(self, text: str) -> list[float]:
        """The text's vector."""
        content = {"model": self.model, "input": text, "encoding_format": "float"}
        body = await post_json(self.http, f"{self.root}/embeddings", json=content)
        try:
            return [float(value) for value in body["data"][0]["embedding"]]
        except (KeyError, IndexError, TypeError, ValueError):
            raise Failed("answer of another shape") from None

    async def transcribe(self, recording: Recording, language: str | None) -> str:
        """The recording's text."""
        fields = {"model": self.model, "response_format": "json"}
        fields |= {"language": language} if language else {}
        body = await post_json(
            self.http,
            f"{self.root}/audio/transcriptions",
            data=fields,
            files={"file": (recording.name, recording.data)},
        )
        if not isinstance(body.get("text"), str):
            raise Failed("answer of another shape")
        return str(body["text"])

    async def tokens(self, text: str) -> list[int]:
        """Token ids by POST /tokenize, as llama.cpp's server (`content`) and vLLM (`prompt`) take
        it."""
        url = f"{self.root.removesuffix('/v1')}/tokenize"
        content = {"model": self.model, "content": text}
        try:
            found = (await post_json(self.http, url, json=content))["tokens"]
        except Failed:
            found = (
                await post_json(self.http, url, json={"model": self.model, "prompt": text})
            ).get("tokens")
        if not isinstance(found, list) or not all(isinstance(token, int) for token in found):
            raise Failed("answer of another shape")
        return found


async def chat_answers(asker: Asker, cases: Cases, max_tokens: int) -> list[str]:
    return [await asker.chat(prompt, max_tokens) for prompt in cases.prompts]


async def vectors(asker: Asker, cases: Cases) -> list[list[float]]:
    return [await asker.embed(text) for text in cases.texts]


async def transcripts(asker: Asker, cases: Cases, language: str | None) -> list[str]:
    return [await asker.transcribe(recording, language) for recording in cases.recordings]


async def tokenized(
    askers: Sequence[Asker], answers: Sequence[Sequence[str]]
) -> list[list[list[int]]] | None:
    """The answers of each side as tokens, by the first server that tokenizes; None if none does."""
    for asker in askers:
        try:
            return [[await asker.tokens(text) for text in texts] for texts in answers]
        except Failed:
            continue
    return None
