"""Turns a growing list of tokens into text that is safe to send; used by chat.answer.

Sent text is never taken back: an unfinished character and anything that may become a stop string
are held until it is clear what they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fleet_server.generation.stop_strings import Stops

UNFINISHED = "\ufffd"


class TextStream:
    """One answer's text. `decode` gives the text of token ids (fleet_server.protocols); `tail` are
    tokens it goes on from; a character they leave unfinished belongs to this text."""

    def __init__(
        self,
        decode: Callable[[Sequence[int]], str],
        stop: Sequence[str] = (),
        tail: Sequence[int] = (),
    ) -> None:
        self._decode = decode
        self._stops = Stops(stop)
        self._ids = list(tail)
        self._window = 0  # first token still decoded again, for the space it may carry
        self._shown = _whole(tail, decode)  # first token whose text was not taken yet
        self._held = ""
        self.stopped = False

    def feed(self, token_ids: Sequence[int]) -> str:
        """Text that became certain. After `stopped` there is none."""
        self._ids.extend(token_ids)
        return self._release(self._fresh(final=False), final=False)

    def flush(self) -> str:
        """What was held back, at the end of the answer."""
        return self._release(self._fresh(final=True), final=True)

    def rest(self) -> str:
        """What was held back for a stop string, where the answer breaks off."""
        text, self._held = self._held, ""
        return text

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
        if (found := self._stops.feed(fresh)) is not None:
            end, length = found
            self.stopped, held, self._held = True, len(self._held), ""
            return text[: held + end - length]
        keep = 0 if final else self._stops.begun
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]


def _whole(tail: Sequence[int], decode: Callable[[Sequence[int]], str]) -> int:
    """How many of the tokens end with a whole character."""
    number = len(tail)
    while number and decode(tail[:number]).endswith(UNFINISHED):
        number -= 1
    return number
