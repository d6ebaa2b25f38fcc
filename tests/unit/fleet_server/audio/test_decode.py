"""Recordings of many kinds become 16 kHz mono samples; what is no recording is refused."""

from __future__ import annotations

import io
import random
import socket
from collections.abc import Callable
from typing import IO

import av
import numpy as np
import pytest

from fleet_contract.errors import BadRequest, FleetError, TooLarge
from fleet_server.audio import decode as module
from fleet_server.audio.decode import RATE, decode
from fleet_server.protocols import Cancelled, Float32

Wav = Callable[..., bytes]


def never() -> bool:
    return False


def read(raw: bytes, max_seconds: int = 60) -> Float32:
    return decode(io.BytesIO(raw), max_seconds, never)


def encoded(
    container: str, codec: str, seconds: float, rate: int, *, silent: bool = False
) -> bytes:
    """A 440 Hz tone, or silence, in stereo."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as out:
        stream = out.add_stream(codec, rate=rate, layout="stereo")
        time = np.arange(round(seconds * rate)) / rate
        tone = np.zeros_like(time) if silent else 0.3 * np.sin(2 * np.pi * 440 * time)
        planes = np.stack([tone, tone]).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout="stereo")
        frame.sample_rate = rate
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            out.mux(packet)
    return file.getvalue()


def pitch(samples: Float32) -> float:
    """The strongest frequency in Hz."""
    strengths = np.abs(np.fft.rfft(samples))
    return float(strengths.argmax() * RATE / len(samples))


@pytest.mark.parametrize(
    ("container", "codec", "rate"),
    [("wav", "pcm_s16le", 8000), ("wav", "pcm_f32le", 44_100), ("flac", "flac", 96_000),
     ("mp3", "libmp3lame", 44_100), ("ogg", "libopus", 48_000),
     ("webm", "libopus", 48_000), ("mp4", "aac", 44_100), ("adts", "aac", 32_000)],
)  # fmt: skip
def test_kinds_of_recordings(container: str, codec: str, rate: int) -> None:
    if codec == "libmp3lame" and codec not in av.codecs_available:
        codec = "mp3"
    samples = read(encoded(container, codec, 2.0, rate))
    assert samples.dtype == np.float32
    assert samples.ndim == 1
    assert len(samples) == pytest.approx(2 * RATE, rel=0.06)
    assert np.abs(samples).max() == pytest.approx(0.3, abs=0.06)
    assert pitch(samples[RATE // 2 : RATE + RATE // 2]) == pytest.approx(440, abs=3)


def test_any_rate_and_number_of_channels(make_wav: Wav) -> None:
    for rate in (8000, 11_025, 16_000, 48_000):
        for channels in (1, 2, 6):
            samples = read(make_wav(1.0, rate=rate, channels=channels))
            assert len(samples) == pytest.approx(RATE, abs=40), (rate, channels)


def test_a_recording_cut_off_is_read_as_far_as_it_goes(make_wav: Wav) -> None:
    whole = make_wav(2.0)
    assert len(read(whole[: len(whole) // 2])) == pytest.approx(RATE, rel=0.02)
    mp3 = encoded("mp3", "libmp3lame" if "libmp3lame" in av.codecs_available else "mp3", 2, 44_100)
    assert len(read(mp3[: len(mp3) // 2])) == pytest.approx(RATE, rel=0.2)


@pytest.mark.parametrize(
    "raw",
    [b"", b"\0", b"\0" * 100_000, b"this is no recording " * 500, b"RIFF\xff\xff\xff\xffWAVE",
     b"RIFF$\0\0\0WAVEfmt ", b"ID3\x04\0\0\0\0\0\0", b"OggS" + b"\0" * 1000, b"fLaC" * 500,
     b"\x89PNG\r\n\x1a\n" + b"\0" * 1000, b"GIF89a" * 50, b"%PDF-1.7" * 50, b"PK\x03\x04" * 50],
)  # fmt: skip
def test_what_is_no_recording_is_refused(raw: bytes) -> None:
    with pytest.raises(BadRequest) as caught:
        read(raw)
    assert caught.value.param == "file"
    assert caught.value.code == "invalid_audio"


def test_a_header_without_sound_is_refused(make_wav: Wav) -> None:
    with pytest.raises(BadRequest):
        read(make_wav(0.0))
    with pytest.raises(BadRequest):
        read(make_wav(2.0)[:44])


def test_a_picture_is_no_sound() -> None:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        stream = out.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for _ in range(5):
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            for packet in stream.encode(frame):
                out.mux(packet)
        for packet in stream.encode(None):
            out.mux(packet)
    with pytest.raises(BadRequest, match="no audio stream"):
        read(file.getvalue())


def test_a_playlist_opens_nothing(make_wav: Wav, tmp_path: object) -> None:
    with socket.create_server(("127.0.0.1", 0)) as bait:
        bait.setblocking(False)
        address = f"http://127.0.0.1:{bait.getsockname()[1]}/a.ts"
        target = f"{tmp_path}/secret.wav"
        with open(target, "wb") as file:
            file.write(make_wav(1.0))
        for raw in (
            f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{address}\n#EXT-X-ENDLIST\n",
            f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{target}\n#EXT-X-ENDLIST\n",
            f"ffconcat version 1.0\nfile '{target}'\n",
            f"ffconcat version 1.0\nfile {address}\n",
            f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
            f"m=audio {bait.getsockname()[1]} RTP/AVP 0\n",
            f'<?xml version="1.0"?><MPD><Period><AdaptationSet><Representation><BaseURL>{address}'
            f"</BaseURL></Representation></AdaptationSet></Period></MPD>",
        ):
            with pytest.raises(BadRequest):
                read(raw.encode())
        with pytest.raises(BlockingIOError):
            bait.accept()


def test_the_length_is_checked_while_decoding() -> None:
    small = encoded("flac", "flac", 300.0, 8000, silent=True)
    assert len(small) < 100_000
    with pytest.raises(TooLarge, match="120 seconds") as caught:
        read(small, max_seconds=120)
    assert caught.value.param == "file"
    assert len(read(small, max_seconds=300)) == 300 * RATE


def test_a_long_recording_lies_in_a_file(make_wav: Wav, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = make_wav(3.0)
    in_memory = read(raw)
    monkeypatch.setattr(module, "SPOOL_BYTES", 10_000)
    mapped = read(raw)
    assert isinstance(mapped, np.memmap)
    assert np.array_equal(mapped, in_memory)


def test_decoding_stops_when_nobody_waits(make_wav: Wav) -> None:
    class Slow(io.BytesIO):
        reads = 0

        def read(self, size: int | None = -1) -> bytes:
            self.reads += 1
            return super().read(size)

    file: IO[bytes] = Slow(make_wav(30.0))
    with pytest.raises(Cancelled):
        decode(file, 60, lambda: file.reads > 3)  # type: ignore[attr-defined]
    assert file.reads < 10  # type: ignore[attr-defined]


def test_damaged_recordings_end_in_samples_or_a_refusal(make_wav: Wav) -> None:
    chance = random.Random(3)
    sources = [
        make_wav(0.5),
        encoded("flac", "flac", 0.5, 16_000),
        encoded("ogg", "libopus", 0.5, 48_000),
        encoded("mp4", "aac", 0.5, 44_100),
    ]
    for turn in range(400):
        raw = bytearray(sources[turn % len(sources)])
        for _ in range(chance.randrange(1, 12)):
            raw[chance.randrange(min(len(raw), 600 if turn % 2 else len(raw)))] = chance.randrange(
                256
            )
        try:
            samples = read(bytes(raw[: chance.randrange(20, len(raw) + 1)]), max_seconds=5)
        except FleetError as error:
            assert error.status in (400, 413)  # noqa: PT017
        else:
            assert np.isfinite(samples).all()
            assert np.abs(samples).max() <= 1
