"""Cuts a long recording into blocks for Whisper's long-form generation; used by TorchSpeech.

transformers keeps the scores of every window until it is done, about 20 to 90 MB each, so a long
recording is transcribed some minutes at a time. Within a block transformers moves its window as the
model's timestamps say; between blocks the cut follows the last finished segment in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence

from fleet_server.protocols import Segment

RATE = 16_000
"""Samples a second of every Whisper model."""
WINDOW_SECONDS = 30
BLOCK_SECONDS = 10 * WINDOW_SECONDS
QUIET = 1e-4
"""Largest sample of what counts as silence: some steps of 16-bit audio."""


def finished(
    segments: Sequence[Segment], start: float, end: float, *, last: bool
) -> tuple[list[Segment], float]:
    """Segments of the block `start` to `end` that are kept, and where the next block begins.

    A segment that reaches the end of a block may go on behind it: it is left to the next block,
    unless nothing else would be kept.
    """
    kept = list(segments)
    if not last and len(kept) > 1 and kept[-1].end >= end - 1 and kept[-1].start > start:
        following = kept.pop().start
        return kept, following
    return kept, end
