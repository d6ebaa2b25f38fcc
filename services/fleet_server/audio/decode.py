"""Decodes and resamples uploaded audio files with PyAV.

Uploads are not trusted: length, rate, channels and the number of packets are checked before a
frame is resampled, because a small file can contain days of audio or hours of work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import IO, Any

import av
import numpy as np
from av.audio.fifo import AudioFifo
from av.audio.resampler import AudioResampler

from fleet_contract.errors import TooLarge
from fleet_server.audio.container import opened, unreadable
from fleet_server.audio.scratch import ScratchFile
from fleet_server.protocols import Cancelled, Float32

RATE = 16_000
LOWEST_RATE, HIGHEST_RATE = 4_000, 384_000
"""Rates in Hz that are resampled: 10 Hz would be 1,600 samples for one."""
MAX_CHANNELS = 8
BLOCK = 16_384
"""Samples that are resampled at once."""
MAX_BAD_PACKETS = 100
"""Successive undecodable packets after which the file is refused."""
MAX_CHANGES = 100
"""Maximum number of changes of rate, channels or sample format: each needs a new resampler."""
SPARE_PACKETS, PACKETS_PER_SECOND = 5_000, 500
"""Maximum number of packets: a fixed number, and so many for each second; Opus has at most 400."""


def decode(
    file: IO[bytes], max_seconds: int, cancelled: Callable[[], bool], into: ScratchFile
) -> Float32:
    """Float32 mono samples at 16 kHz, in -1..1, stored in `into`, which must stay open.

    Raises BadRequest if the file has no readable audio, TooLarge beyond `max_seconds`, QueueFull
    if there is no space for the samples, Cancelled when `cancelled()` becomes true.
    """
    try:
        with opened(file) as (container, stream):
            for block in _blocks(_frames(container, stream, max_seconds, cancelled)):
                into.write(block.data)
    except (av.FFmpegError, ValueError) as error:
        raise unreadable(_reason(error)) from None
    samples = into.floats()
    if len(samples) == 0:
        raise unreadable("it contains no sound")
    return samples


def _frames(
    container: Any, stream: Any, max_seconds: int, cancelled: Callable[[], bool]
) -> Iterator[Any]:
    """Checked frames in order; damaged packets are skipped."""
    bad, number, seconds = 0, 0, 0.0
    packets = container.demux(stream)
    while True:
        if cancelled():
            raise Cancelled
        number += 1
        if number > SPARE_PACKETS + PACKETS_PER_SECOND * seconds:
            raise unreadable(f"it has {number} packets for {seconds:.1f} seconds of sound")
        try:
            packet = next(packets, None)
            if packet is None:
                return
            for frame in packet.decode():
                _check(frame)
                seconds += frame.samples / frame.sample_rate
                # Rounding errors of the sum are less than a sample.
                if seconds * RATE > max_seconds * RATE + 1:
                    raise TooLarge(
                        f"The recording is longer than {max_seconds} seconds, the longest that is "
                        f"accepted.",
                        param="file",
                    )
                yield frame
            bad = 0
        except av.InvalidDataError:
            bad += 1
            if bad > MAX_BAD_PACKETS:
                raise


def _check(frame: Any) -> None:
    rate, channels = frame.sample_rate, frame.layout.nb_channels
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise unreadable(
            f"its rate is {rate} Hz; rates from {LOWEST_RATE} to {HIGHEST_RATE} Hz are supported"
        )
    if channels > MAX_CHANNELS:
        raise unreadable(f"it has {channels} channels; at most {MAX_CHANNELS} are supported")


def _blocks(frames: Iterator[Any]) -> Iterator[Float32]:
    """The frames, resampled in blocks: for each of many short frames it would cost most time."""
    shape: tuple[str, str, int] | None = None
    changes = -1
    fifo, resampler = AudioFifo(), _resampler()
    for frame in frames:
        now = (frame.format.name, frame.layout.name, frame.sample_rate)
        if now != shape:  # a concatenation of different recordings
            changes += 1
            if changes > MAX_CHANGES:
                raise unreadable(f"its rate or layout changes more than {MAX_CHANGES} times")
            if shape is not None:
                yield from _drained(fifo, resampler)
                fifo, resampler = AudioFifo(), _resampler()
            shape = now
        frame.pts = None
        fifo.write(frame)
        while fifo.samples >= BLOCK:
            yield from _samples(resampler.resample(fifo.read(BLOCK)))
    if shape is not None:
        yield from _drained(fifo, resampler)


def _resampler() -> AudioResampler:
    # 16 bits instead of float: only then does FFmpeg average channels without clipping.
    return AudioResampler(format="s16", layout="mono", rate=RATE)


def _drained(fifo: AudioFifo, resampler: AudioResampler) -> Iterator[Float32]:
    if fifo.samples:
        yield from _samples(resampler.resample(fifo.read(0, partial=True)))
    yield from _samples(resampler.resample(None))


def _samples(frames: list[Any]) -> Iterator[Float32]:
    for frame in frames:
        integers = np.frombuffer(frame.planes[0], dtype=np.int16, count=frame.samples)
        yield np.multiply(integers, np.float32(1 / 32768), dtype=np.float32)


def _reason(error: Exception) -> str:
    if isinstance(error, (av.InvalidDataError, av.ArgumentError)):
        return "its format is not supported"
    if isinstance(error, (av.EOFError, av.OSError)):
        return "it ends before its first sound"
    if isinstance(error, av.MemoryError):
        return "its headers claim more than is accepted"
    return "it is damaged"
