"""The estimated cost of a request and a hash of its leading texts, for load balancing. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from msgspec import UNSET, DecodeError, Raw, Struct, UnsetType
from msgspec.json import Decoder

from fleet_router.request.fields import Fields, scalar

PROMPT_BYTES = 2048
"""Bytes of a prompt per unit: prefill of about 500 tokens."""
NEW_TOKENS = 128
"""New tokens per unit: generating costs about ten times as much as prefill."""
DEFAULT_NEW_TOKENS = 256
"""Assumed for requests without a maximum."""
IMAGE_COST = 2.0
"""Units of an image."""
AUDIO_BYTES = 512 * 1024
"""Bytes of a recording per unit: half a minute, compressed."""
MOST_TEXTS = 1000
"""Counted choices of a prompt, and prompts."""
_LISTS = re.compile(rb'\[\s*["\[]')
"""The beginning of a list of prompts."""
MAX_UNITS = 1000.0
"""Upper bound: clients choose the figures, and one request must not outweigh all others."""
LEADING_BYTES = 1024
"""Bytes of each leading text that are hashed."""


class RequestCost(NamedTuple):
    """`units` is 1 for a small request; `prefix` is the hash of the leading texts, b"" if there are
    none; `images` is the number of images in the messages, `prompt_bytes` the size of the JSON
    body without them; `recordings`: there may be recordings in them."""

    streams: bool = False
    units: float = 1.0
    prefix: bytes = b""
    images: int = 0
    prompt_bytes: int = 0
    recordings: bool = False


def of_upload(length: int | None) -> RequestCost:
    """The cost of a form, by the size of its recording."""
    return RequestCost(units=min(MAX_UNITS, 1.0 + (length or 0) / AUDIO_BYTES))


def of_json(fields: Fields, size: int, prefix: bool = True, images: bool = True) -> RequestCost:
    """The cost of a JSON body of `size` bytes; without `images` none are searched for. Wrong types
    are ignored: the model server refuses them."""
    streams = scalar(fields.stream) is True
    conversation = fields.input if fields.messages is UNSET else fields.messages
    messages = _messages(conversation) if prefix or images else ()
    leading = _digest(fields, messages) if prefix else b""
    sizes = [
        len(memoryview(image))
        for message in (messages if images else ())
        for image in _images(message.content)
    ]
    prompt_bytes = size - sum(sizes)
    cost = 1.0 + prompt_bytes / PROMPT_BYTES + IMAGE_COST * len(sizes)
    if any(raw is not UNSET for raw in (fields.messages, fields.prompt, fields.max_output_tokens)):
        cost += _choices(fields) * _new_tokens(fields) / NEW_TOKENS
    return RequestCost(streams, min(MAX_UNITS, cost), leading, len(sizes), prompt_bytes)


def _new_tokens(fields: Fields) -> int:
    for raw in (
        fields.max_completion_tokens,
        fields.max_output_tokens,
        fields.max_tokens,
        fields.n_predict,
    ):
        value = scalar(raw)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return min(value, 100_000)
    return DEFAULT_NEW_TOKENS


def _choices(fields: Fields) -> int:
    """How many texts are generated: `n` for each prompt."""
    each = scalar(fields.n)
    if not isinstance(each, int) or isinstance(each, bool) or each < 1:
        each = 1
    return min(each, MOST_TEXTS) * min(_prompts(fields.prompt), MOST_TEXTS)


def _prompts(raw: Raw | UnsetType) -> int:
    """The number of prompts of a text completion; a list of token ids is one."""
    if raw is UNSET or _LISTS.match(memoryview(raw)) is None:
        return 1
    try:
        return max(1, len(_read_list(raw)))
    except DecodeError:
        return 1


class _Message(Struct, gc=False):
    role: Raw | UnsetType = UNSET
    content: Raw | UnsetType = UNSET


class _Part(Struct, gc=False):
    """`image_url` is that of OpenAI's parts; `source` belongs to Anthropic's images and documents,
    and `content` to results of tools, which may have images."""

    type: Raw | UnsetType = UNSET
    text: Raw | UnsetType = UNSET
    image_url: Raw | UnsetType = UNSET
    source: Raw | UnsetType = UNSET
    content: Raw | UnsetType = UNSET


_read_list = Decoder(list[Raw]).decode
_read_messages = Decoder(list[_Message]).decode
_read_parts = Decoder(list[_Part]).decode


def _messages(raw: Raw | UnsetType) -> Sequence[_Message]:
    try:
        return () if raw is UNSET else _read_messages(raw)
    except DecodeError:
        return ()


def _parts(content: Raw | UnsetType) -> Sequence[_Part]:
    if content is UNSET or _is_text(content):
        return ()
    try:
        return _read_parts(content)
    except DecodeError:
        return ()


def _images(content: Raw | UnsetType) -> Iterator[Raw]:
    """The images in a content, those of results of tools included."""
    for part in _parts(content):
        if (image := _image(part)) is not None:
            yield image
        for inner in _parts(part.content):
            if (image := _image(inner)) is not None:
                yield image


def _image(part: _Part) -> Raw | None:
    """Its URL, a string or an object, if it has any; or its source, an object."""
    image = part.image_url
    if image is not UNSET and memoryview(image)[:1].tobytes() in b'"{':
        return image
    source = part.source
    if source is UNSET or part.type is UNSET or bytes(memoryview(part.type)) != b'"image"':
        return None
    return source if memoryview(source)[:1].tobytes() == b"{" else None


def _is_text(raw: Raw) -> bool:
    return memoryview(raw)[:1].tobytes() == b'"'


def _digest(fields: Fields, messages: Sequence[_Message]) -> bytes:
    digest = hashlib.blake2b(digest_size=8)
    found = False
    for text in _leading(fields, messages):
        found = True
        digest.update(text)
    return digest.digest() if found else b""


def _leading(fields: Fields, messages: Sequence[_Message]) -> Iterator[bytes]:
    """The beginning that later turns of a conversation share: the adapter and everything up to the
    first user message; images by their digest."""
    # Each text has a tag, so that the same text in another place has another hash.
    adapter = fields.lora if fields.adapter is UNSET else fields.adapter
    if adapter is not UNSET and _is_text(adapter):
        yield b"a" + _start(adapter)
    if fields.instructions is not UNSET and _is_text(fields.instructions):
        yield b"s" + _start(fields.instructions)
    if fields.system is not UNSET:
        yield b"y" + _start(fields.system)
    for message in messages:
        role = b"" if message.role is UNSET else _start(message.role)
        yield b"m" + role
        yield from _content(message)
        if role == b'"user"':
            return
    for raw in (fields.prompt, fields.input, fields.content, fields.query):
        if raw is not UNSET and _is_text(raw):
            yield b"t" + _start(raw)
            return


def _content(message: _Message) -> Iterator[bytes]:
    if message.content is not UNSET and _is_text(message.content):
        yield b"t" + _start(message.content)
        return
    for part in _parts(message.content):
        if part.text is not UNSET and _is_text(part.text):
            yield b"t" + _start(part.text)
        if (image := _image(part)) is not None:
            yield b"i" + hashlib.blake2b(image).digest()


def _start(raw: Raw) -> bytes:
    return bytes(memoryview(raw)[:LEADING_BYTES])
