"""Transcriptions: how many times faster than real time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import httpx

from fleet_bench.http import post_json
from fleet_bench.plan import Plan
from fleet_bench.recordings import Recording
from fleet_bench.sample import Answer, Failed


@dataclass(frozen=True, slots=True)
class Audio:
    """Sends the recordings in turn, again and again."""

    plan: Plan
    recordings: Sequence[Recording]
    language: str | None
    translate: bool

    async def send(self, http: httpx.AsyncClient, number: int) -> Answer:
        """One answer, checked: some text, and the length the server heard. Raises Failed."""
        path = "translations" if self.translate else "transcriptions"
        fields = {"model": self.plan.model, "response_format": "verbose_json"}
        if self.language is not None and not self.translate:
            fields["language"] = self.language
        recording = self.recordings[number % len(self.recordings)]
        body = await post_json(
            http,
            f"{self.plan.root}/audio/{path}",
            data=fields,
            files={"file": (recording.name, recording.data)},
        )
        try:
            spoken = str(body["text"]).strip()
            seconds = float(body["duration"])
        except (KeyError, TypeError, ValueError):
            raise Failed("answer of another shape") from None
        if not spoken:
            raise Failed("empty answer")
        return Answer(audio_seconds=seconds)
