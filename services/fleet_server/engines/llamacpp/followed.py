"""Checks that a text follows its format.

llama.cpp's masks have the limits of llguidance for one step: where one is exceeded, its sampler
drops the grammar and generates any text (`llama_sampler_llg_apply`, common/llguidance.cpp). The
check costs some microseconds for each token.
"""

from __future__ import annotations

from typing import Any

from fleet_contract.errors import BadRequest
from fleet_server.engines.guided.elsewhere import SourceFormat
from fleet_server.protocols import Finish

SPACE = ord(" ")


class FollowedFormat:
    """The format of one text. `matcher` is an `llguidance.LLMatcher` of single bytes at its
    beginning; `param` is the place of the format in the request. Not thread-safe."""

    def __init__(self, matcher: Any, param: str) -> None:
        self._matcher = matcher
        self._param = param

    def check(self, text: str, finish: Finish | None) -> None:
        """Continue with this text; `finish` is that of the last one. Raises BadRequest."""
        if finish is Finish.LENGTH:
            return  # which may end within a character
        if not self._consumed(text) or (finish is not None and not self._matcher.is_accepting()):
            raise BadRequest(
                "Following the format of the text takes too long. Use one with fewer alternatives "
                "and simpler patterns.",
                param=self._param,
                code="schema_too_expensive",
            )

    def _consumed(self, text: str) -> bool:
        data = list(text.encode())
        while data:
            data = data[self._matcher.try_consume_tokens(data) :]
            if not data or data[0] != SPACE:
                break
            # With `clean_spaces` llama.cpp's masks see the token " ," as ",".
            data = data[1:]
        return not data


def followed(wanted: SourceFormat | None) -> FollowedFormat | None:
    """The check of a new text; None without a format, and for one with special tokens."""
    if wanted is None or wanted.of_bytes is None:
        return None
    return FollowedFormat(wanted.of_bytes.deep_copy(), wanted.param)
