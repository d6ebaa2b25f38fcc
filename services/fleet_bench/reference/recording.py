"""Decoding of recordings for transformers and faster-whisper."""

from __future__ import annotations

import io
from typing import Any

RATE = 16_000


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
