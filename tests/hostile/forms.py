"""Forms of the speech routes, and recordings: a real one and some that are made by hand."""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterable
from importlib import resources

BOUNDARY = "hostile0123456789"


def form(fields: Iterable[tuple[str, str | bytes]], filename: str = "a.wav") -> tuple[bytes, str]:
    """A multipart body and its content type; values in bytes are files."""
    parts = []
    for name, value in fields:
        head = f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="{name}"'
        if isinstance(value, bytes):
            parts.append(f'{head}; filename="{filename}"\r\n\r\n'.encode() + value + b"\r\n")
        else:
            parts.append(f"{head}\r\n\r\n{value}\r\n".encode())
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode(), content_type()


def content_type() -> str:
    """The content type of `form`."""
    return f"multipart/form-data; boundary={BOUNDARY}"


@functools.cache
def sample() -> bytes:
    """Some sentences in English, as Opus in Ogg."""
    return resources.files("fleet_bench").joinpath("samples", "english.ogg").read_bytes()


def flac(rate: int, frames: int = 1, channels: int = 1) -> bytes:
    """A FLAC file of silence, 65,535 samples in each frame of 12 bytes or more (RFC 9639)."""
    block = 65_535
    packed = rate << 44 | (channels - 1) << 41 | 15 << 36 | min(frames * block, 2**36 - 1)
    info = struct.pack(">HH", block, block) + bytes(6) + packed.to_bytes(8) + bytes(16)
    return (
        b"fLaC\x80\x00\x00\x22"
        + info
        + b"".join(_flac_frame(number, channels) for number in range(frames))
    )


def _flac_frame(number: int, channels: int) -> bytes:
    coded = chr(number).encode("utf-8", "surrogatepass")
    head = bytes((0xFF, 0xF8, 0x70, (channels - 1) << 4 | 0x08)) + coded + struct.pack(">H", 65_534)
    frame = head + bytes((_crc(head, 8, 0x07),)) + bytes(3) * channels
    return frame + struct.pack(">H", _crc(frame, 16, 0x8005))


def _crc(data: bytes, bits: int, polynomial: int) -> int:
    value, top, mask = 0, 1 << (bits - 1), (1 << bits) - 1
    for byte in data:
        value ^= byte << (bits - 8)
        for _ in range(8):
            value = (value << 1 ^ polynomial if value & top else value << 1) & mask
    return value


def wav(rate: int, channels: int, samples: int, declared: int | None = None) -> bytes:
    """A WAV file of silence in 16 bits; `declared` is the length of the data in its head."""
    data = bytes(2 * channels * samples)
    size = len(data) if declared is None else declared
    head = struct.pack("<HHIIHH", 1, channels, rate, rate * 2 * channels & 0xFFFFFFFF,
                       2 * channels, 16)  # fmt: skip
    return (
        b"RIFF" + struct.pack("<I", min(size + 36, 2**32 - 1)) + b"WAVEfmt \x10\0\0\0" + head
        + b"data" + struct.pack("<I", size) + data
    )  # fmt: skip
