"""Reads the events of a generation in llama.cpp (POST /completion) as steps."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from http.client import HTTPResponse
from typing import Any

from fleet_server.engines.llamacpp.followed import FollowedFormat
from fleet_server.engines.llamacpp.server import message_of
from fleet_server.engines.llamacpp.vocabulary import LlamaVocabulary
from fleet_server.protocols import Delta, Finish, Step, TokenLogprobs

MAX_LINE = 16 << 20
CLOSED = "llama.cpp closed the connection"


class NotCached(Exception):
    """The cache holds only `tokens` of a prompt, so that too many would be computed at once."""

    def __init__(self, tokens: int) -> None:
        super().__init__(f"the cache holds {tokens} tokens of a prompt")
        self.tokens = tokens


class StepReader:
    """Reads one generation; `logprobs` is that of its sampling options, `followed` the format of
    its text."""

    def __init__(
        self,
        vocabulary: LlamaVocabulary,
        logprobs: int | None,
        followed: FollowedFormat | None = None,
    ) -> None:
        self._vocabulary = vocabulary
        self._number = logprobs
        self._followed = followed
        self._counted = 0
        self._found: list[TokenLogprobs] = []
        self._cached: int | None = None

    def read_slice(self, response: HTTPResponse, most: int | None = None) -> None:
        """Read the response to a slice of the prompt. Raises what `read` raises."""
        for event in _events(response):
            if (progress := event.get("prompt_progress")) is not None:
                self._add_progress(progress, most)
            elif event["stop"]:
                return
        raise ConnectionError(CLOSED)

    def read(self, response: HTTPResponse, most: int | None = None) -> Iterator[Step]:
        """The steps; tokens are counted by `tokens_predicted`.

        Raises RuntimeError and ValueError for errors of llama.cpp's, OSError, BadRequest for a text
        that does not follow its format, and NotCached before more than `most` tokens of the prompt
        are computed.
        """
        for event in _events(response):
            if (step := self._step(event, most)) is not None:
                if self._followed is not None and step.delta is not None:
                    self._followed.check(step.delta.text, step.finish)
                yield step
                if step.finish is not None:
                    return
        raise ConnectionError(CLOSED)

    def _step(self, event: Mapping[str, Any], most: int | None) -> Step | None:
        if (progress := event.get("prompt_progress")) is not None:
            self._add_progress(progress, most)
            done = progress["processed"] >= progress["total"]
            return Step((), delta=NOTHING, cached_tokens=self._cached) if done else None
        self._add_logprobs(event)
        number = int(event["tokens_predicted"])
        if event["stop"]:
            # The token that ended the generation is counted by llama.cpp and has no text.
            ended = event["stop_type"] == "eos"
            finish = Finish.LENGTH if event["stop_type"] == "limit" else Finish.STOP
            new = Delta(event["content"], max(0, number - ended - self._counted))
            found = self._taken()
            return Step((), finish, delta=new, logprobs=found[:-1] if ended else found)
        # An event without text may be that of the last token.
        if not event["content"]:
            return None
        new = Delta(event["content"], number - self._counted)
        self._counted = number
        return Step((), delta=new, logprobs=self._taken())

    def _add_progress(self, progress: Mapping[str, Any], most: int | None) -> None:
        cached = int(progress["cache"])
        if self._cached is None:
            self._cached = cached  # before the first slice
        # The first of these events comes before the first pass.
        if most is not None and progress["total"] - cached > most:
            raise NotCached(cached)

    def _taken(self) -> list[TokenLogprobs]:
        found, self._found = self._found, []
        return found

    def _add_logprobs(self, event: Mapping[str, Any]) -> None:
        if self._number is None:
            return
        for each in event.get("completion_probabilities", ()):
            top = [self._pair(other) for other in each["top_logprobs"][: self._number]]
            # Of a character of several tokens, llama.cpp returns the last token, with its text.
            piece = bytes(each["bytes"])
            self._found.append(TokenLogprobs(each["id"], each["logprob"], top, piece))

    def _pair(self, entry: Mapping[str, Any]) -> tuple[int, float]:
        self._vocabulary.remember(entry["id"], bytes(entry["bytes"]))
        return entry["id"], entry["logprob"]


def _events(response: HTTPResponse) -> Iterator[Mapping[str, Any]]:
    while line := response.readline(MAX_LINE):
        kind, _, data = line.rstrip(b"\n").partition(b": ")
        if kind == b"error":
            raise RuntimeError(message_of(b'{"error": %s}' % data))
        if kind != b"data" or data == b"[DONE]":
            continue
        event = json.loads(data)
        if "error" in event:
            raise ValueError(str(event["error"].get("message")))
        yield event


NOTHING = Delta("", 0)
