"""Transcription with transformers' pipeline or faster-whisper's sequential `transcribe`."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from fleet_bench.reference import checkpoint

RATE = 16_000


class TransformersSpeech:
    """Whisper from safetensors; long recordings are transcribed window by window."""

    def __init__(self, path: Path, device: str, dtype: str) -> None:
        from transformers import pipeline

        place, number_format = checkpoint.place(device, dtype)
        self._pipeline = pipeline(
            "automatic-speech-recognition", model=str(path), dtype=number_format, device=place,
            model_kwargs={"local_files_only": True, "use_safetensors": True},
        )  # fmt: skip

    def transcribe(
        self, recording: bytes, language: str | None, translate: bool
    ) -> tuple[str, float]:
        samples = decode(recording)
        options: dict[str, Any] = {}
        if self._pipeline.model.generation_config.is_multilingual:
            options["task"] = "translate" if translate else "transcribe"
            if language is not None:
                options["language"] = language
        found = self._pipeline(
            {"raw": samples, "sampling_rate": RATE}, return_timestamps=True,
            generate_kwargs=options,
        )  # fmt: skip
        return str(found["text"]), len(samples) / RATE


class FasterWhisperSpeech:
    """A CTranslate2 folder; `auto` is `int8` on a CPU and `float16` on CUDA."""

    def __init__(self, path: Path, device: str, dtype: str) -> None:
        import ctranslate2
        from faster_whisper import WhisperModel

        if device == "auto":
            device = "cuda" if ctranslate2.get_cuda_device_count() else "cpu"
        if dtype == "auto":
            dtype = "int8" if device == "cpu" else "float16"
        kind, _, number = device.partition(":")
        self._model = WhisperModel(
            str(path), device=kind, device_index=int(number or 0), compute_type=dtype,
            local_files_only=True,
        )  # fmt: skip

    def transcribe(
        self, recording: bytes, language: str | None, translate: bool
    ) -> tuple[str, float]:
        samples = decode(recording)
        task = "translate" if translate else "transcribe"
        segments, _ = self._model.transcribe(samples, language=language, task=task)
        return "".join(segment.text for segment in segments), len(samples) / RATE


def decode(recording: bytes) -> Any:
    """Samples as float32 in -1 to 1, mono, 16 kHz, by PyAV (any format of FFmpeg)."""
    import av
    import numpy as np

    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
    chunks = []
    with av.open(io.BytesIO(recording)) as container:
        for frame in container.decode(audio=0):
            chunks += [chunk.to_ndarray()[0] for chunk in resampler.resample(frame)]
    chunks += [chunk.to_ndarray()[0] for chunk in resampler.resample(None)]
    return np.concatenate(chunks).astype(np.float32) / 32768
