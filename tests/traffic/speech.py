"""Transcriptions of a recording whose words are known."""

from __future__ import annotations

import re
from dataclasses import dataclass

import httpx

from traffic.http import whole
from traffic.kind import Call, Wrong


@dataclass(frozen=True, slots=True)
class Transcription:
    """Good is a text that holds all `words`; `recording` is a file of any format."""

    model: str
    recording: bytes
    words: tuple[str, ...]
    language: str = "en"
    name: str = "transcription"

    async def ask(self, http: httpx.AsyncClient, call: Call) -> None:
        """Send one request. Raises Wrong."""
        body = await whole(
            http, call, "/audio/transcriptions",
            data={"model": self.model, "language": self.language, "temperature": "0"},
            files={"file": ("speech.wav", self.recording)},
        )  # fmt: skip
        text = body.get("text")
        if not isinstance(text, str):
            raise Wrong("an answer of another shape")
        heard = set(re.findall(r"\w+", text.lower()))
        if missing := [word for word in self.words if word.lower() not in heard]:
            raise Wrong(f"{missing} not in {text[:100]!r}")
