"""The prompt before the text of a completion."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fleet_contract.api.completions import TextLogprobs
from fleet_server.generation.logprobs import ScoredToken, scored
from fleet_server.protocols import TokenLogprobs


@dataclass(frozen=True, slots=True)
class Echo:
    """`text` is shown; `token_ids` are those of the prompt, whose bytes `piece` gives."""

    text: str = ""
    token_ids: Sequence[int] = ()
    piece: Callable[[int], bytes] = bytes

    def logprobs(self, found: Sequence[TokenLogprobs]) -> TextLogprobs:
        """The tokens of the prompt; the first one has no probability, `found` are the others."""
        first = scored(TokenLogprobs(self.token_ids[0], 0.0), 0, self.piece).token
        # A token that begins every text is not part of the one that is shown.
        shown = self.text.encode().startswith(first.piece)
        decoder = codecs.getincrementaldecoder("utf-8")("ignore")
        offset = len(decoder.decode(first.piece)) if shown else 0
        tokens: list[ScoredToken] = []
        for each in found:
            token = scored(each, offset, self.piece)
            offset += len(decoder.decode(token.token.piece))
            tokens.append(token)
        others = text_logprobs(tokens, 0)
        return {
            "tokens": [first.text, *others["tokens"]],
            "token_logprobs": [None, *others["token_logprobs"]],
            "top_logprobs": [None, *others["top_logprobs"]],
            "text_offset": [0, *others["text_offset"]],
        }


def text_logprobs(tokens: Sequence[ScoredToken], before: int) -> TextLogprobs:
    """The tokens after `before` characters."""
    return {
        "tokens": [each.token.text for each in tokens],
        "token_logprobs": [each.token.logprob for each in tokens],
        "top_logprobs": [_top(each) for each in tokens],
        "text_offset": [before + each.offset for each in tokens],
    }


def joined(one: TextLogprobs, other: TextLogprobs) -> TextLogprobs:
    """The tokens of both."""
    return {
        "tokens": [*one["tokens"], *other["tokens"]],
        "token_logprobs": [*one["token_logprobs"], *other["token_logprobs"]],
        "top_logprobs": [*one["top_logprobs"], *other["top_logprobs"]],
        "text_offset": [*one["text_offset"], *other["text_offset"]],
    }


def _top(token: ScoredToken) -> dict[str, float]:
    """The most probable tokens, and the generated one if it is not among them."""
    found = {each.text: each.logprob for each in token.top}
    return found | {token.token.text: token.token.logprob}
