"""Decodes and resamples uploaded audio files with PyAV.

Uploads are not trusted: only the containers below are tried (a playlist would make FFmpeg open
other URLs), only the first audio stream is decoded, and the length is checked while decoding,
because a small file can contain days of audio.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from typing import IO, Any

import av
import numpy as np
from av.audio.resampler import AudioResampler

from fleet_contract.errors import BadRequest, TooLarge
from fleet_server.protocols import Cancelled, Float32

RATE = 16_000
CONTAINERS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,asf,au,avi,caf,eac3,flac,flv,matroska,webm,mov,mp4,m4a,3gp,3g2,"
    "mj2,mp3,mpeg,mpegts,ogg,w64,wav,wv"
)
"""FFmpeg's names of the allowed demuxers; none of them opens a second file."""
MAX_BAD_PACKETS = 100
"""Successive undecodable packets after which the file is refused."""
SPOOL_BYTES = 64 * 1024 * 1024
"""Bytes of samples in memory, about 17 minutes; longer recordings use a temporary file."""


def decode(file: IO[bytes], max_seconds: int, cancelled: Callable[[], bool]) -> Float32:
    """Float32 mono samples at 16 kHz, in -1..1; long recordings are mapped from a temporary file.

    Raises BadRequest if the file has no readable audio, TooLarge beyond `max_seconds`, Cancelled
    when `cancelled()` becomes true.
    """
    limit = max_seconds * RATE
    samples = 0
    with tempfile.SpooledTemporaryFile(SPOOL_BYTES) as spool:
        try:
            for block in _blocks(file, cancelled):
                samples += len(block)
                if samples > limit:
                    raise TooLarge(
                        f"The recording is longer than {max_seconds} seconds, the longest that is "
                        f"accepted.",
                        param="file",
                    )
                spool.write(block.tobytes())
        except (av.FFmpegError, ValueError) as error:
            raise _unreadable(_reason(error)) from None
        if samples == 0:
            raise _unreadable("it contains no sound")
        return _samples(spool, samples)


def _blocks(file: IO[bytes], cancelled: Callable[[], bool]) -> Iterator[Float32]:
    options = {"format_whitelist": CONTAINERS, "protocol_whitelist": ""}
    with av.open(file, mode="r", metadata_errors="ignore", options=options) as container:
        if not container.streams.audio:
            raise _unreadable("it contains no audio stream")
        stream = container.streams.audio[0]
        resampler = _resampler()
        shape: tuple[str, str, int] | None = None
        for frame in _frames(container, stream, cancelled):
            now = (frame.format.name, frame.layout.name, frame.sample_rate)
            if shape is not None and now != shape:  # a concatenation of different recordings
                yield from _arrays(resampler.resample(None))
                resampler = _resampler()
            shape = now
            frame.pts = None
            yield from _arrays(resampler.resample(frame))
        if shape is not None:
            yield from _arrays(resampler.resample(None))


def _resampler() -> AudioResampler:
    # 16 bits instead of float: only then does FFmpeg average channels without clipping.
    return AudioResampler(format="s16", layout="mono", rate=RATE)


def _frames(container: Any, stream: Any, cancelled: Callable[[], bool]) -> Iterator[Any]:
    """Frames in order; damaged packets are skipped."""
    bad = 0
    packets = container.demux(stream)
    while True:
        if cancelled():
            raise Cancelled
        try:
            packet = next(packets, None)
            if packet is None:
                return
            yield from packet.decode()
            bad = 0
        except av.InvalidDataError:
            bad += 1
            if bad > MAX_BAD_PACKETS:
                raise


def _arrays(frames: list[Any]) -> Iterator[Float32]:
    for frame in frames:
        yield frame.to_ndarray().reshape(-1).astype(np.float32) / np.float32(32768)


def _samples(spool: Any, samples: int) -> Float32:
    spool.seek(0)
    if samples * 4 <= SPOOL_BYTES:
        return np.frombuffer(spool.read(), dtype=np.float32)
    spool.rollover()
    mapped: Float32 = np.memmap(spool._file, dtype=np.float32, mode="r+", shape=(samples,))
    return mapped


def _reason(error: Exception) -> str:
    if isinstance(error, (av.InvalidDataError, av.ArgumentError)):
        return "its format is not supported"
    return str(getattr(error, "strerror", None) or error)[:200].rstrip(".")


def _unreadable(reason: str) -> BadRequest:
    return BadRequest(
        f"The recording cannot be read: {reason}. Supported formats include wav, mp3, m4a, ogg, "
        f"flac and webm.",
        param="file",
        code="invalid_audio",
    )
