"""Recordings of many formats become 16 kHz mono samples; other files are refused."""

from __future__ import annotations

import io
import pickle
import random
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import IO, Any

import av
import numpy as np
import pytest

from fleet_contract.errors import BadRequest, FleetError, QueueFull, TooLarge
from fleet_server.audio import container
from fleet_server.audio import decode as module
from fleet_server.audio.decode import RATE, decode
from fleet_server.audio.scratch import Scratch, ScratchFile
from fleet_server.protocols import Cancelled, Float32
from support import forged_recordings as forged

Wav = Callable[..., bytes]


def never() -> bool:
    return False


def read(raw: bytes, max_seconds: int = 60, *, in_memory: int = 1 << 24) -> Float32:
    with ScratchFile(Scratch(1 << 30), in_memory) as samples:
        return decode(io.BytesIO(raw), max_seconds, never, samples)


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


def test_a_truncated_recording_is_read_up_to_its_end(make_wav: Wav) -> None:
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
def test_other_files_are_refused(raw: bytes) -> None:
    with pytest.raises(BadRequest) as caught:
        read(raw)
    assert caught.value.param == "file"
    assert caught.value.code == "invalid_audio"


def test_a_header_without_sound_is_refused(make_wav: Wav) -> None:
    with pytest.raises(BadRequest):
        read(make_wav(0.0))
    with pytest.raises(BadRequest):
        read(make_wav(2.0)[:44])


def test_a_picture_is_refused() -> None:
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


def test_a_long_recording_is_kept_in_a_file(make_wav: Wav) -> None:
    raw = make_wav(3.0)
    in_memory = read(raw)
    assert not isinstance(in_memory, np.memmap)
    mapped = read(raw, in_memory=10_000)
    assert isinstance(mapped, np.memmap)
    assert np.array_equal(mapped, in_memory)


def test_decoding_stops_when_cancelled(make_wav: Wav) -> None:
    class Slow(io.BytesIO):
        reads = 0

        def read(self, size: int | None = -1) -> bytes:
            self.reads += 1
            return super().read(size)

    file: IO[bytes] = Slow(make_wav(30.0))
    with ScratchFile(Scratch(1 << 30), 1000) as samples, pytest.raises(Cancelled):
        decode(file, 60, lambda: file.reads > 3, samples)  # type: ignore[attr-defined]
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


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (forged.flac(10), "rate is 10 Hz"),
        (forged.wav(rate=module.LOWEST_RATE - 1), "rate is 3999 Hz"),
        (forged.wav(rate=module.HIGHEST_RATE + 1), "rate is 384001 Hz"),
        (forged.wav(channels=module.MAX_CHANNELS + 1), "9 channels"),
        (forged.mp4(60_000_000), "no sound"),
        (forged.mp4(700_000, tracks=3), "more than 2000000 entries"),
        (forged.mp4(10, tracks=container.MAX_STREAMS + 1), "claim more than is accepted"),
        (forged.mov_with_png(8, 8), "no audio stream"),
        (forged.flac(16_000, block=16, rates=tuple(range(8000, 8102))), "changes more than 100"),
    ],
)  # fmt: skip
def test_values_in_headers_are_bounded(raw: bytes, reason: str) -> None:
    with pytest.raises(BadRequest, match=reason) as caught:
        read(raw, max_seconds=14_400)
    assert (caught.value.param, caught.value.code) == ("file", "invalid_audio")


def test_the_bounds_themselves_are_accepted() -> None:
    assert len(read(forged.wav(rate=module.LOWEST_RATE))) == pytest.approx(0.4 * RATE, abs=40)
    assert len(read(forged.wav(rate=module.HIGHEST_RATE, data=bytes(76_800)))) > 0
    assert len(read(forged.wav(channels=module.MAX_CHANNELS, data=bytes(32_000)))) > 0


def test_changes_of_the_rate_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def changing(rates: int) -> bytes:
        return forged.flac(16_000, block=4000, rates=tuple(range(8000, 8000 + rates)))

    monkeypatch.setattr(module, "MAX_CHANGES", 5)
    assert len(read(changing(6))) == pytest.approx(6 * 8000, abs=30)
    with pytest.raises(BadRequest, match="more than 5 times"):
        read(changing(7))


def test_false_headers_use_little_memory() -> None:
    raws = [
        forged.flac(10), forged.mp4(60_000_000), forged.mov_with_png(6000, 6000),
        forged.wav(claimed=0xFFFFFFFF),
    ]  # fmt: skip
    script = (
        "import io, pickle, resource, sys\n"
        "from fleet_contract.errors import BadRequest\n"
        "from fleet_server.audio.decode import decode\n"
        "from fleet_server.audio.scratch import Scratch, ScratchFile\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024\n"
        "before = peak()\n"
        "for raw in pickle.load(sys.stdin.buffer):\n"
        "    with ScratchFile(Scratch(1 << 30), 1000) as samples:\n"
        "        try: decode(io.BytesIO(raw), 14_400, lambda: False, samples)\n"
        "        except BadRequest: pass\n"
        "print(peak() - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], input=pickle.dumps(raws), capture_output=True, timeout=60
    )
    assert int(done.stdout) < 60, done.stderr  # MiB; each of the first three took 90 to 3,000


def test_tiny_packets_are_bounded_by_their_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SPARE_PACKETS", 50)
    assert len(read(forged.ogg_opus(2_000))) == 5 * RATE  # 400 packets a second
    monkeypatch.setattr(module, "PACKETS_PER_SECOND", 399)
    with pytest.raises(BadRequest, match="packets for"):
        read(forged.ogg_opus(40_000), max_seconds=1000)


def test_no_frame_is_resampled_beyond_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    resampled = []
    original = module._samples

    def counting(frames: Any) -> Any:
        resampled.extend(frame.samples for frame in frames)
        yield from original(frames)

    monkeypatch.setattr(module, "_samples", counting)
    with pytest.raises(TooLarge, match="10 seconds"):
        read(forged.flac(4000), max_seconds=10)  # one frame of 16 seconds
    assert resampled == []


def test_long_frames_are_refused_by_the_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(read(forged.flac(8000))) == pytest.approx(2 * forged.FLAC_LONGEST, abs=40)
    monkeypatch.setattr(container, "MAX_FRAME_SAMPLES", forged.FLAC_LONGEST - 1)
    with pytest.raises(BadRequest):
        read(forged.flac(8000))


def test_errors_describe_the_defect_of_the_file() -> None:
    whole = encoded("webm", "libopus", 0.2, 48_000)
    head = whole[: whole.index(b"\x1f\x43\xb6\x75")]  # up to the first cluster
    with pytest.raises(BadRequest, match="it ends before its first sound"):
        read(head)


def test_samples_need_scratch_space(make_wav: Wav) -> None:
    scratch = Scratch(2 * RATE * 4)
    with ScratchFile(scratch, 1 << 20, "a") as samples:
        decode(io.BytesIO(make_wav(1.0)), 60, never, samples)
        assert scratch.used == RATE * 4
    assert scratch.used == 0
    with ScratchFile(scratch, 1 << 20, "a") as samples, pytest.raises(QueueFull):
        decode(io.BytesIO(make_wav(1.1)), 60, never, samples)
    assert scratch.used == 0


def test_only_decoders_of_sound_are_used(make_wav: Wav, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container, "DECODERS", "aac,mp3")
    with pytest.raises(BadRequest, match="codec is not supported"):
        read(make_wav(0.1))


def test_packets_that_cannot_be_decoded_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = forged.ogg_opus(40, packet=b"\xff\xff\xff")
    for most, refused in ((100, "no sound"), (39, "format is not supported"), (40, "no sound")):
        monkeypatch.setattr(module, "MAX_BAD_PACKETS", most)
        with pytest.raises(BadRequest, match=refused):
            read(damaged)


def test_no_picture_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    original = av.open

    def opening(*args: Any, **options: Any) -> Any:
        opened = original(*args, **options)
        seen.append(opened.streams.video[0].codec_context.pix_fmt)
        return opened

    monkeypatch.setattr(container.av, "open", opening)
    with pytest.raises(BadRequest):
        read(forged.mov_with_png(8, 8))
    with original(io.BytesIO(forged.mov_with_png(8, 8))) as decoded:
        seen.append(decoded.streams.video[0].codec_context.pix_fmt)
    assert seen == [None, "rgb24"]  # known from the decoded picture only
