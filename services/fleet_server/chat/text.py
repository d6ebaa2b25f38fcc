"""Turns a growing list of tokens into text that is safe to send; used by chat.answer.

Sent text is never taken back: an unfinished character and anything that may become a stop string
are held until it is clear what they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

UNFINISHED = "\ufffd"


class TextStream:
    """One answer's text. `decode` gives the text of token ids (fleet_server.protocols)."""

    def __init__(self, decode: Callable[[Sequence[int]], str], stop: Sequence[str] = ()) -> None:
        self._decode = decode
        self._stop = tuple(stop)
        self._ids: list[int] = []
        self._window = 0  # first token still decoded again, for the space it may carry
        self._shown = 0  # first token whose text was not taken yet
        self._held = ""
        self.stopped = False

    def feed(self, token_ids: Sequence[int]) -> str:
        """Text that became certain. After `stopped` there is none."""
        self._ids.extend(token_ids)
        return self._release(self._fresh(final=False), final=False)

    def flush(self) -> str:
        """What was held back, at the end of the answer."""
        return self._release(self._fresh(final=True), final=True)

    def _fresh(self, *, final: bool) -> str:
        before = self._decode(self._ids[self._window : self._shown])
        after = self._decode(self._ids[self._window :])
        if len(after) <= len(before) or (after.endswith(UNFINISHED) and not final):
            return ""
        self._window, self._shown = self._shown, len(self._ids)
        return after[len(before) :]

    def _release(self, fresh: str, *, final: bool) -> str:
        if self.stopped:
            return ""
        text = self._held + fresh
        cut = first_stop(text, self._stop)
        if cut is not None:
            self.stopped, self._held = True, ""
            return text[:cut]
        keep = 0 if final else possible_stop(text, self._stop)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]


def first_stop(text: str, stop: Sequence[str]) -> int | None:
    """Where the stop string that is complete first begins, or None.

    The one complete first, not the one that begins first: so the answer does not depend on how
    many tokens arrived at once.
    """
    found = [(index + len(word), index) for word in stop if (index := text.find(word)) >= 0]
    return min(found)[1] if found else None


def possible_stop(text: str, stop: Sequence[str]) -> int:
    """Length of the longest end of `text` that begins a stop string."""
    longest = max((len(word) for word in stop), default=1) - 1
    for length in range(min(longest, len(text)), 0, -1):
        if any(word.startswith(text[-length:]) for word in stop):
            return length
    return 0
