"""Meters a response: the usage it reports, or an estimate where it ends before it reports one.

A client that leaves a stream early, and a stream that breaks off, are charged for what was sent:
the tokens are counted from the chunks. Where the server did not report the prompt's tokens or the
recording's seconds either, they are estimated from the size of the request.
"""

from __future__ import annotations

import re

from fleet_contract.errors import Timeout
from fleet_router.callers.request_record import USAGE, RequestRecord
from fleet_router.callers.usage import NO_USAGE, RequestUsage, Tail, parse_usage
from fleet_router.routing.paths import PATHS, BodyKind
from fleet_router.upstream.connection import Head
from fleet_router.upstream.headers import EVENT_STREAM

PROMPT_BYTES_PER_TOKEN = 4
TEXT_BYTES_PER_TOKEN = 6
"""Used where one event carries several tokens; more than the 4 to 5 bytes of a usual token, so that
an event with one long token counts once."""
AUDIO_BYTES_PER_SECOND = 32_000
"""WAV of 16 bits at 16 kHz; a compressed recording is longer than the estimate."""
LINE_BYTES = 64 * 1024
"""An unfinished line up to this length is kept until its end arrives."""

_TEXT = re.compile(
    rb'"(?:content|text|delta|arguments|partial_json|reasoning_content|reasoning|thinking)": ?'
    rb'"((?:[^"\\]++|\\.)++)"'
    rb'(?:, ?"reasoning(?:_content)?": ?"(?:[^"\\]++|\\.)*+")?'
)
"""Generated text in the events of OpenAI's, Anthropic's and llama.cpp's streams. Quotes inside of
text are escaped, so that text cannot contain a match; possessive, so that a string without end
costs linear time. Reasoning that an event has under both of its names counts once."""
_COMMENT = b": usage {"
_USAGE = re.compile(rb"^: usage (\{.*\})\r?$", re.MULTILINE)


class StreamedText:
    """Counts the tokens of an event stream: one for each event, more for a long one."""

    def __init__(self) -> None:
        self.reported = NO_USAGE
        """The last usage in a comment, which may precede the text."""
        self._line = b""
        self._events = 0
        self._bytes = 0

    def add(self, chunk: bytes) -> None:
        """The next chunk of the body."""
        data = self._line + chunk if self._line else chunk
        end = len(data) if data.endswith(b"\n") else data.rfind(b"\n") + 1
        unfinished = len(data) - end
        self._line = data[end:] if unfinished <= LINE_BYTES else b""
        for text in _TEXT.findall(data, 0, end if unfinished <= LINE_BYTES else len(data)):
            self._events += 1
            self._bytes += len(text)
        if _COMMENT in data and (comments := _USAGE.findall(data)):
            self.reported = parse_usage(comments[-1])

    @property
    def tokens(self) -> int:
        """The tokens of the text so far."""
        return max(self._events, self._bytes // TEXT_BYTES_PER_TOKEN)


class Meter:
    """Sets the usage of a record from one response; `close` must follow."""

    def __init__(self, record: RequestRecord, head: Head) -> None:
        self._record = record
        self._status = head.status
        self._streams = (head.get(b"content-type") or b"").startswith(EVENT_STREAM)
        self._reported = parse_usage(head.get(USAGE) or b"{}")
        self._text = StreamedText() if self._streams else None
        self.tail = Tail()

    def add(self, chunk: bytes) -> None:
        """The next chunk of the body."""
        self.tail.add(chunk)
        if self._text is not None:
            self._text.add(chunk)

    def close(self, *, complete: bool) -> None:
        """The response ended; `complete` is whether its body did."""
        usage = self._tail_usage()
        streamed = self._text.tokens if self._text is not None else 0
        # A usage in the middle of a stream, or one without completion, is that of its beginning.
        early = usage is not NO_USAGE and not (complete and usage.completion_tokens)
        if early and streamed > usage.completion_tokens:
            usage = usage._replace(completion_tokens=streamed)
            self._record.estimated = True
        if usage is not NO_USAGE or not self._is_charged(complete):
            self._record.usage = usage
            return
        comment = self._text.reported if self._text is not None else NO_USAGE
        charge(self._record, self._reported if comment is NO_USAGE else comment, streamed)

    def _tail_usage(self) -> RequestUsage:
        # Not from the body if the head has it: a transcript is text of the client.
        if self._reported is not NO_USAGE and not self._streams:
            return self._reported
        return self.tail.usage()

    def _is_charged(self, complete: bool) -> bool:
        """Whether a response that reports no usage is charged an estimate."""
        if self._status >= 400:
            return self._status == Timeout.status
        return self._streams or not complete


def charge(
    record: RequestRecord, reported: RequestUsage = NO_USAGE, completion_tokens: int = 0
) -> None:
    """Charge an estimate where `reported` has no figures."""
    usage = reported._replace(completion_tokens=completion_tokens)
    rule = PATHS.get(record.path)
    if rule is not None and rule.kind is BodyKind.MULTIPART:
        seconds = reported.audio_seconds or record.sent_bytes / AUDIO_BYTES_PER_SECOND
        usage = RequestUsage(audio_seconds=round(seconds, 1))
    elif not reported.prompt_tokens:
        usage = usage._replace(prompt_tokens=-(-record.prompt_bytes // PROMPT_BYTES_PER_TOKEN))
    record.usage, record.estimated = usage, True
