"""Recordings that become far larger than their files."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from hostile.attack import REFUSED, TAKEN, Attack, at_once, expect
from hostile.caller import Caller, chat, speech
from hostile.forms import flac, form, wav
from hostile.target import Target

PATH = "/v1/audio/transcriptions"
HOUR_FRAMES = 880
"""Frames of an hour at 16 kHz."""


def posted(
    target: Target,
    _: Caller,
    *,
    make: Callable[[], bytes],
    statuses: frozenset[int] = REFUSED,
    count: int = 2,
) -> None:
    """The recording, several times at once."""
    body, kind = form([("model", target.speech), ("file", make())])
    call = partial(target.request, PATH, body, content_type=kind)
    expect(at_once([call] * count), statuses)


def recording(name: str, make: Callable[[], bytes], mib: float = 200, **options: object) -> Attack:
    """An attack with `posted`."""
    return Attack(name, partial(posted, make=make, **options), (chat, speech), mib)  # type: ignore[arg-type]


ATTACKS = (
    recording("55 bytes of FLAC at 10 Hz", lambda: flac(10)),
    recording("FLAC at 1 Hz", lambda: flac(1)),
    recording("FLAC at 655 kHz", lambda: flac(655_350, 100)),
    recording("FLAC of eight channels", lambda: flac(16_000, 8, 8), statuses=TAKEN),
    recording("WAV of 64 channels", lambda: wav(16_000, 64, 1000)),
    recording("WAV at 1 Hz", lambda: wav(1, 1, 4000)),
    recording("WAV that declares 4 GiB", lambda: wav(16_000, 1, 1600, 2**32 - 1), statuses=TAKEN),
    recording("five hours in 55 kB", lambda: flac(16_000, 5 * HOUR_FRAMES), mib=400),
)
