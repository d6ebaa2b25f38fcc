"""Small recordings whose headers lie: rates, channels, sizes and tables that cost memory or time.

Formats: FLAC (RFC 9639), ISO base media (ISO/IEC 14496-12), RIFF WAVE, Ogg (RFC 3533) with Opus
(RFC 7845), ADTS (ISO/IEC 13818-7), PNG (ISO/IEC 15948).
"""

from __future__ import annotations

import struct
import zlib

FLAC_LONGEST = 65_535
"""Most samples in a FLAC frame whose block size has 16 bits, minus the largest value."""


def flac(
    rate: int, *, channels: int = 1, block: int = FLAC_LONGEST, rates: tuple[int, ...] = ()
) -> bytes:
    """One frame of silence; with `rates` (in Hz, below 65,536) a frame at each of them instead."""
    frames = rates or (0,)
    info = struct.pack(">HH", max(block, 16), max(block, 16)) + bytes(6)
    packed = rate << 44 | (channels - 1) << 41 | 15 << 36 | block * len(frames)
    info += packed.to_bytes(8, "big") + bytes(16)
    head = b"fLaC\x80" + len(info).to_bytes(3, "big") + info
    return head + b"".join(
        _flac_frame(number, own, channels, block) for number, own in enumerate(frames)
    )


def _flac_frame(number: int, rate: int, channels: int, block: int) -> bytes:
    head = bytes([0xFF, 0xF8, 0x70 | (0xD if rate else 0), (channels - 1) << 4 | 8])
    head += chr(number).encode() + struct.pack(">H", block - 1)
    head += struct.pack(">H", rate) if rate else b""
    frame = head + bytes([_crc(head, 0x07, 8)]) + bytes(3) * channels
    return frame + struct.pack(">H", _crc(frame, 0x8005, 16))


def mp4(samples: int, *, tracks: int = 1, codec: bytes = b"mp4a") -> bytes:
    """Tracks whose sample tables claim `samples` samples of one byte."""
    entry = (
        bytes(6) + struct.pack(">H", 1) + bytes(8) + struct.pack(">HHHHI", 1, 16, 0, 0, 0x3E800000)
    )
    table = _atom(
        b"stbl",
        _atom(b"stsd", struct.pack(">II", 0, 1), _atom(codec, entry)),
        _atom(b"stts", struct.pack(">IIII", 0, 1, samples, 1024)),
        _atom(b"stsc", struct.pack(">IIIII", 0, 1, 1, samples, 1)),
        _atom(b"stsz", struct.pack(">III", 0, 1, samples)),
        _atom(b"stco", struct.pack(">III", 0, 1, 40)),
    )
    media = _atom(
        b"mdia",
        _atom(b"mdhd", struct.pack(">IIIIII", 0, 0, 0, 16_000, samples, 0)),
        _atom(b"hdlr", bytes(8) + b"soun" + bytes(13)),
        _atom(b"minf", _atom(b"smhd", bytes(8)), table),
    )
    every = [
        _atom(b"trak", _atom(b"tkhd", struct.pack(">5I", 7, 0, 0, number, 0) + bytes(64)), media)
        for number in range(1, tracks + 1)
    ]
    movie = _atom(b"mvhd", struct.pack(">5I", 0, 0, 0, 1000, 1000) + bytes(80))
    return (
        _atom(b"ftyp", b"isom\0\0\0\0isom")
        + _atom(b"mdat", bytes(64))
        + _atom(b"moov", movie, *every)
    )


def wav(
    rate: int = 16_000, channels: int = 1, bits: int = 16, *, tag: int = 1,
    data: bytes = bytes(3200), claimed: int | None = None,
) -> bytes:  # fmt: skip
    """PCM (or the format `tag`) whose data chunk claims `claimed` bytes."""
    align = channels * bits // 8
    form = struct.pack(
        "<HHIIHH", tag, channels, rate, rate * align & 0xFFFFFFFF, align & 0xFFFF, bits
    )
    size = len(data) if claimed is None else claimed
    return (
        b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVEfmt " + struct.pack("<I", 16) + form
        + b"data" + struct.pack("<I", size) + data
    )  # fmt: skip


def ogg_opus(packets: int, *, packet: bytes = b"\x80", channels: int = 1) -> bytes:
    """Opus packets, by default 2.5 ms of silence in one byte."""
    head = b"OpusHead\x01" + bytes([channels]) + struct.pack("<HIhB", 0, 48_000, 0, 0)
    pages = [_ogg_page([head], 0, 2), _ogg_page([b"OpusTags" + bytes(8)], 1, 0)]
    for start in range(0, packets, 255):
        part = [packet] * min(255, packets - start)
        pages.append(_ogg_page(part, len(pages), 0, (start + len(part)) * 120))
    return b"".join(pages)


def _ogg_page(packets: list[bytes], number: int, flags: int, position: int = 0) -> bytes:
    head = b"OggS\0" + bytes([flags]) + struct.pack("<QIII", position, 7, number, 0)
    page = head + bytes([len(packets), *map(len, packets)]) + b"".join(packets)
    return page[:22] + struct.pack("<I", _crc(page, 0x04C11DB7, 32)) + page[26:]


def mov_with_png(width: int, height: int) -> bytes:
    """A video track with one black picture, in a QuickTime file without an audio track."""
    rows = zlib.compressobj(9)
    row = bytes(1 + width * 3)
    packed = b"".join(rows.compress(row) for _ in range(height)) + rows.flush()
    picture = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in (
            (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
            (b"IDAT", packed),
            (b"IEND", b""),
        )
    )
    entry = bytes(6) + struct.pack(">H", 1) + bytes(16) + struct.pack(">HH", width, height)
    entry += bytes(50)
    table = _atom(
        b"stbl",
        _atom(b"stsd", struct.pack(">II", 0, 1), _atom(b"png ", entry)),
        _atom(b"stts", struct.pack(">IIII", 0, 1, 1, 1)),
        _atom(b"stsc", struct.pack(">IIIII", 0, 1, 1, 1, 1)),
        _atom(b"stsz", struct.pack(">III", 0, len(picture), 1)),
        _atom(b"stco", struct.pack(">III", 0, 1, 28)),
    )
    media = _atom(
        b"mdia",
        _atom(b"mdhd", struct.pack(">IIIIII", 0, 0, 0, 25, 1, 0)),
        _atom(b"hdlr", bytes(8) + b"vide" + bytes(13)),
        _atom(b"minf", _atom(b"vmhd", bytes(12)), table),
    )
    track = _atom(b"trak", _atom(b"tkhd", struct.pack(">5I", 7, 0, 0, 1, 0) + bytes(64)), media)
    movie = _atom(b"moov", _atom(b"mvhd", struct.pack(">5I", 0, 0, 0, 25, 1) + bytes(80)), track)
    return _atom(b"ftyp", b"qt  \0\0\0\0qt  ") + _atom(b"mdat", picture) + movie


def _atom(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I", 8 + len(body)) + kind + body


def _crc(data: bytes, polynomial: int, bits: int) -> int:
    top, mask, value = 1 << (bits - 1), (1 << bits) - 1, 0
    for byte in data:
        value ^= byte << (bits - 8)
        for _ in range(8):
            value = (value << 1 ^ polynomial if value & top else value << 1) & mask
    return value
