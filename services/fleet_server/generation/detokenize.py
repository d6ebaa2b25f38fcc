"""Decodes a growing list of tokens incrementally.

Returned text never changes: an incomplete character and text that may become a stop string are
held back until decided.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fleet_server.generation.stop_strings import Stops

UNFINISHED = "\ufffd"
MOST_UNFINISHED = 3
"""Tokens at the end of a text that may be part of one character, of at most four bytes."""
MOST_HELD = 8
"""Tokens without text that are held back: all of them are decoded again with each new one, so a
model that generates only bytes of no character, or special tokens, must not add to them."""


class TextStream:
    """The text of one generation.

    `decode` returns the text of token ids (see ChatModel). `tail` holds the prompt tokens it
    continues; a character that they leave incomplete is part of this text.
    """

    def __init__(
        self,
        decode: Callable[[Sequence[int]], str],
        stop: Sequence[str] = (),
        tail: Sequence[int] = (),
    ) -> None:
        self._decode = decode
        self._stops = Stops(stop)
        self._ids = list(tail)
        self._context = 0  # first token decoded again: some vocabularies drop a leading space
        self._returned = _complete(tail, decode)  # first token whose text was not returned yet
        self._held = ""
        self.stopped = False
        self.decoded = 0
        """Number of characters decoded so far."""
        self.returned = 0
        """Number of characters returned so far."""
        self.stop = ""
        """The stop string that ended the text."""

    def feed(self, token_ids: Sequence[int]) -> str:
        """The text that can be returned with these tokens; empty once `stopped`."""
        self._ids.extend(token_ids)
        return self._release(self._fresh(final=False), final=False)

    def feed_text(self, text: str) -> str:
        """The text that can be returned with this one, from an engine that decodes itself."""
        return self._release(text, final=False)

    def flush(self) -> str:
        """The text held back, at the end of the generation."""
        return self._release(self._fresh(final=True), final=True)

    def rest(self) -> str:
        """The text held back for a stop string, after an error."""
        text, self._held = self._held, ""
        return text

    def _fresh(self, *, final: bool) -> str:
        if not self._ids:
            return ""
        end = len(self._ids)
        before = self._decode(self._ids[self._context : self._returned])
        after = self._decode(self._ids[self._context :])
        many = end - self._returned > MOST_HELD and not final
        if after.endswith(UNFINISHED) and not final:
            if not many:
                return ""
            end = self._certain()
            after = self._decode(self._ids[self._context : end])
        if len(after) <= len(before):
            if many and after == before:
                del self._ids[self._returned : end]
            return ""
        self._context, self._returned = self._returned, end
        return after[len(before) :]

    def _certain(self) -> int:
        """The number of tokens whose text no later one changes, of a text that ends with bytes of
        no character."""
        last = len(self._ids) - MOST_UNFINISHED
        for end in range(len(self._ids) - 1, last, -1):
            if not self._decode(self._ids[self._context : end]).endswith(UNFINISHED):
                return end
        return last

    def _release(self, fresh: str, *, final: bool) -> str:
        if self.stopped:
            return ""
        text = self._held + fresh
        self.decoded += len(fresh)
        if (found := self._stops.feed(fresh)) is not None:
            end, length = found
            self.stopped, end, self._held = True, len(self._held) + end, ""
            self.stop = text[end - length : end]
            text = text[: end - length]
        else:
            keep = 0 if final else self._stops.pending
            self._held = text[len(text) - keep :]
            text = text[: len(text) - keep]
        self.returned += len(text)
        return text


def _complete(tail: Sequence[int], decode: Callable[[Sequence[int]], str]) -> int:
    """The length of the longest prefix of `tail` that ends with a complete character."""
    number = len(tail)
    while number and decode(tail[:number]).endswith(UNFINISHED):
        number -= 1
    return number
