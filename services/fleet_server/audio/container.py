"""Opens untrusted recordings with PyAV: allowed formats and decoders, bounded tables.

A container's tables and pictures are not bounded by its size: 500 bytes of MP4 can describe 60
million samples, which FFmpeg lists in 2 GB of memory before anything is decoded.
"""

from __future__ import annotations

import ctypes
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import av
from av import _core as core

from fleet_contract.errors import BadRequest
from fleet_web.logs import event

logger = logging.getLogger(__name__)

DEMUXERS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,asf,au,avi,caf,eac3,flac,flv,matroska,webm,mov,mp4,m4a,3gp,3g2,"
    "mj2,mp3,mpeg,mpegts,ogg,w64,wav,wv"
)
"""FFmpeg's names of the allowed demuxers; none of them opens a second file."""
DECODERS = (
    "aac,aac_latm,ac3,adpcm_ima_qt,adpcm_ima_wav,adpcm_ms,adpcm_swf,adpcm_yamaha,alac,amrnb,amrwb,"
    "dca,eac3,evrc,flac,g722,g723_1,g726,g726le,g729,gsm,gsm_ms,ilbc,libopencore_amrnb,"
    "libopencore_amrwb,libopus,libspeex,libvorbis,mace3,mace6,mlp,mp1,mp1float,mp2,mp2float,mp3,"
    "mp3float,nellymoser,opus,pcm_alaw,pcm_bluray,pcm_dvd,pcm_f32be,pcm_f32le,pcm_f64be,pcm_f64le,"
    "pcm_mulaw,pcm_s16be,pcm_s16be_planar,pcm_s16le,pcm_s16le_planar,pcm_s24be,pcm_s24le,"
    "pcm_s24le_planar,pcm_s32be,pcm_s32le,pcm_s32le_planar,pcm_s8,pcm_s8_planar,pcm_u16be,"
    "pcm_u16le,pcm_u24be,pcm_u24le,pcm_u32be,pcm_u32le,pcm_u8,qcelp,qdm2,qdmc,speex,truehd,"
    "truespeech,tta,vorbis,wavpack,wmalossless,wmapro,wmav1,wmav2,wmavoice"
)
"""FFmpeg's names of the allowed decoders: those of sound, so that no picture is decoded."""
MAX_STREAMS = 10
"""Maximum number of streams of a file; each has its own tables."""
MAX_ENTRIES = 2_000_000
"""Maximum number of table entries of an opened file, 24 bytes each: 11 hours of AAC."""
MAX_FRAME_SAMPLES = 262_144
"""Maximum number of samples of a decoded frame and channel; a FLAC frame has up to 65,535."""
MAX_ALLOCATION = 24 * 1024 * 1024
"""Maximum number of bytes of one allocation by FFmpeg, which bounds each table while it is read."""


def limit_allocations(most: int = MAX_ALLOCATION) -> None:
    """Bound each allocation of FFmpeg in this process. PyAV has no name for `av_max_alloc`."""
    try:
        function = ctypes.CDLL(core.__file__).av_max_alloc
    except (OSError, AttributeError) as error:
        event(logger, "ffmpeg_unbounded", level=logging.WARNING, reason=str(error)[:200])
        return
    function.argtypes, function.restype = [ctypes.c_size_t], None
    function(most)


limit_allocations()
_opening = threading.Lock()
"""One file is opened at a time: meanwhile its tables take up to `MAX_ALLOCATION` per stream."""


@contextmanager
def opened(file: IO[bytes]) -> Iterator[tuple[Any, Any]]:
    """An open container and its first audio stream, ready to be decoded.

    Raises BadRequest for a file without audio and for one with tables or codecs that are not
    accepted, and PyAV's errors.
    """
    options = {
        "format_whitelist": DEMUXERS,
        "codec_whitelist": DECODERS,
        "protocol_whitelist": "",
        "max_streams": str(MAX_STREAMS),
    }
    with _opening:
        container = av.open(file, mode="r", metadata_errors="ignore", options=options)
        try:
            stream = _checked(container)
        except BaseException:
            container.close()
            raise
    with container:
        yield container, stream


def _checked(container: Any) -> Any:
    if not container.streams.audio:
        raise unreadable("it contains no audio stream")
    if sum(len(stream.index_entries) for stream in container.streams) > MAX_ENTRIES:
        raise unreadable(f"its tables have more than {MAX_ENTRIES} entries")
    stream = container.streams.audio[0]
    context = stream.codec_context
    if context is None or context.name not in DECODERS.split(","):
        raise unreadable("its audio codec is not supported")
    context.options = {"max_samples": str(MAX_FRAME_SAMPLES)}
    return stream


def unreadable(reason: str) -> BadRequest:
    """The error of a file that is no usable recording."""
    return BadRequest(
        f"The recording cannot be read: {reason}. Supported formats include wav, mp3, m4a, ogg, "
        f"flac and webm.",
        param="file",
        code="invalid_audio",
    )
