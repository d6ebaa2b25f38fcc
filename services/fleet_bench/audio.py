"""Transcriptions: how many times faster than real time."""

from __future__ import annotations

from dataclasses import dataclass

import httpx

from fleet_bench.http import post_json
from fleet_bench.plan import Plan
from fleet_bench.sample import Answer, Failed


@dataclass(frozen=True, slots=True)
class Audio:
    """Sends the same recording again and again; `name` tells the server its format."""

    plan: Plan
    recording: bytes
    name: str
    language: str | None
    translate: bool

    async def send(self, http: httpx.AsyncClient, number: int) -> Answer:
        """One answer, checked: some text, and the length the server heard. Raises Failed."""
        path = "translations" if self.translate else "transcriptions"
        fields = {"model": self.plan.model, "response_format": "verbose_json"}
        if self.language is not None and not self.translate:
            fields["language"] = self.language
        body = await post_json(
            http,
            f"{self.plan.root}/audio/{path}",
            data=fields,
            files={"file": (self.name, self.recording)},
        )
        try:
            spoken = str(body["text"]).strip()
            seconds = float(body["duration"])
        except (KeyError, TypeError, ValueError):
            raise Failed("answer of another shape") from None
        if not spoken:
            raise Failed("empty answer")
        return Answer(audio_seconds=seconds)
