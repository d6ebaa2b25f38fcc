"""The transcription workload."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import httpx

from fleet_bench.http import post_json
from fleet_bench.recordings import AudioFile
from fleet_bench.sample import Failed, ResponseStats
from fleet_bench.settings import BenchSettings


@dataclass(frozen=True, slots=True)
class Audio:
    """Sends the recordings in turn, repeatedly."""

    settings: BenchSettings
    recordings: Sequence[AudioFile]
    language: str | None
    translate: bool

    async def send(self, http: httpx.AsyncClient, number: int) -> ResponseStats:
        """Send one request; its text must not be empty. Raises Failed."""
        path = "translations" if self.translate else "transcriptions"
        fields = {"model": self.settings.model, "response_format": "verbose_json"}
        if self.language is not None and not self.translate:
            fields["language"] = self.language
        recording = self.recordings[number % len(self.recordings)]
        body = await post_json(
            http,
            f"{self.settings.root}/audio/{path}",
            data=fields,
            files={"file": (recording.name, recording.data)},
        )
        try:
            spoken = str(body["text"]).strip()
            seconds = float(body["duration"])
        except (KeyError, TypeError, ValueError):
            raise Failed("unexpected response shape") from None
        if not spoken:
            raise Failed("empty response")
        return ResponseStats(audio_seconds=seconds)
