"""Checks transcriptions of a recording with known words."""

from __future__ import annotations

import re
from dataclasses import dataclass

import httpx

from traffic.http import json_body
from traffic.kind import BadResponse, Call


@dataclass(frozen=True, slots=True)
class Transcription:
    """The text must contain all `words`; `recording` is a file of any format."""

    model: str
    recording: bytes
    words: tuple[str, ...]
    language: str = "en"
    name: str = "transcription"

    async def send(self, http: httpx.AsyncClient, call: Call) -> None:
        """Send one request. Raises BadResponse."""
        body = await json_body(
            http, call, "/audio/transcriptions",
            data={"model": self.model, "language": self.language, "temperature": "0"},
            files={"file": ("speech.wav", self.recording)},
        )  # fmt: skip
        text = body.get("text")
        if not isinstance(text, str):
            raise BadResponse("a response of another shape")
        words = set(re.findall(r"\w+", text.lower()))
        if missing := [word for word in self.words if word.lower() not in words]:
            raise BadResponse(f"{missing} not in {text[:100]!r}")
