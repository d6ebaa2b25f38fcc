"""How much of a body is read, what it costs, and what is released when it is refused."""

from __future__ import annotations

import gzip
import json
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import Request

from fleet_contract.errors import BadRequest, FleetError, TooLarge
from fleet_contract.spec import ModelSpec
from fleet_router.request.envelope import (
    DEFAULT_SPEC,
    FORM_BYTES,
    Budgets,
    Envelope,
    body_limit,
    open_envelope,
    path_limit,
)
from fleet_router.routing.paths import PATHS, BodyKind, PathRule
from fleet_router.routing.table import Route, RouteTable
from fleet_web.body import THREAD_BYTES
from fleet_web.request_body.byte_budget import ByteBudget

CHAT = PATHS["/v1/chat/completions"]
SPEECH = PATHS["/v1/audio/transcriptions"]
FORM = {"content-type": "multipart/form-data; boundary=q"}
ROOM = 10**7


def field(name: str, value: bytes) -> bytes:
    head = f'--q\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n'.encode()
    return head + value + b"\r\n"


class Client:
    """Sends `pieces` as one body; `budgets` have `room` bytes each."""

    def __init__(self, *pieces: bytes, room: int = ROOM, **headers: str) -> None:
        self.budgets = Budgets(ByteBudget(room), ByteBudget(room))
        self.received = 0
        self._pieces = pieces
        raw = [(name.replace("_", "-").encode(), text.encode()) for name, text in headers.items()]
        app = SimpleNamespace(state=SimpleNamespace())
        self._request = Request({"type": "http", "headers": raw, "app": app}, self._receive)

    async def open(self, limit: int = ROOM, *, prefix: bool = False) -> Envelope:
        rule = SPEECH if "content-type" in self._request.headers else CHAT
        return await self.open_at(rule, limit, prefix=prefix)

    async def open_at(self, rule: PathRule, limit: int = ROOM, *, prefix: bool = False) -> Envelope:
        return await open_envelope(self._request, rule, limit, self.budgets, "a", prefix=prefix)

    @property
    def held(self) -> tuple[int, int]:
        """Bytes of memory and disk."""
        memory, disk = self.budgets
        return memory.limit - memory.left, disk.limit - disk.left

    async def _receive(self) -> Any:
        piece = self._pieces[self.received]
        self.received += 1
        more = self.received < len(self._pieces)
        return {"type": "http.request", "body": piece, "more_body": more}


def upload(*pieces: bytes, **headers: str) -> Client:
    return Client(*pieces, **{"content_type": FORM["content-type"], **headers})


async def sent(envelope: Envelope) -> bytes:
    return b"".join([piece async for piece in envelope.body.chunks()])


@pytest.mark.parametrize("padding", [1, THREAD_BYTES])
async def test_json_is_read_whole_and_counted_until_it_is_closed(padding: int) -> None:
    raw = json.dumps({"model": "acme/one", "stream": True, "x": "y" * padding}).encode()
    client = Client(raw[:9], raw[9:])
    model, body, cost = await client.open()
    assert (model, cost.streams, cost.prompt_bytes) == ("acme/one", True, len(raw))
    assert (body.in_memory, body.length, body.replayable) == (raw, len(raw), True)
    assert client.held == (len(raw), 0)
    await body.close()
    assert client.held == (0, 0)


async def test_only_the_paths_of_generations_are_streamed() -> None:
    streamed = {
        path for path, rule in PATHS.items()
        if rule.kind is BodyKind.JSON
        and (await Client(b'{"stream": true}').open_at(rule)).cost.streams
    }  # fmt: skip
    assert streamed == {
        "/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages",
        "/completion", "/completions", "/infill",
    }  # fmt: skip


async def test_leading_texts_are_hashed_where_a_model_is_routed_by_them() -> None:
    raw = json.dumps({"messages": [{"role": "user", "content": "hi"}]}).encode()
    assert (await Client(raw).open()).cost.prefix == b""
    assert (await Client(raw).open(prefix=True)).cost.prefix != b""


@pytest.mark.parametrize("name", [b"image_url", b"im\\u0061ge_url"])
async def test_images_are_counted_in_each_spelling(name: bytes) -> None:
    raw = b'{"messages": [{"role": "user", "content": [{"%b": {"url": "data:,"}}]}]}' % name
    assert (await Client(raw).open()).cost.images == 1


@pytest.mark.parametrize(
    ("pieces", "room", "error"),
    [
        ([b'{"model": 1}'], ROOM, BadRequest),
        ([b'{"x":', b'"' + b"y" * THREAD_BYTES], ROOM, BadRequest),
        ([b"{", b"}" * 100], ROOM, TooLarge),
        ([b'{"x":', b" " * 60 + b"1}"], 50, TooLarge),
    ],
)
async def test_json_that_is_refused_holds_no_memory(
    pieces: list[bytes], room: int, error: type[FleetError]
) -> None:
    client = Client(*pieces, room=room)
    with pytest.raises(error):
        await client.open(100 if error is TooLarge else ROOM)
    assert client.held == (0, 0)


async def test_a_form_is_read_up_to_its_model() -> None:
    raw = field("n", b"1") + field("model", b"acme/one") + field("file", b"x" * 1000) + b"--q--\r\n"
    pieces = raw[:40], raw[40:200], raw[200:]
    client = upload(*pieces, content_length="1234")
    model, body, cost = await client.open()
    assert (model, client.received) == ("acme/one", 2)
    assert client.held == (200, 200)
    assert (body.length, body.in_memory, body.complete) == (1234, None, False)
    assert cost.units == 1 + 1234 / (512 * 1024)
    assert await sent(Envelope(model, body, cost)) == raw
    await body.close()
    assert client.held == (0, 0)


async def test_a_form_without_a_model_is_read_to_its_end() -> None:
    raw = field("file", b"x") + b"--q--\r\n"
    client = upload(raw[:20], raw[20:])
    envelope = await client.open()
    assert (envelope.model, client.received) == (None, 2)
    assert await sent(envelope) == raw


@pytest.mark.parametrize(
    ("headers", "length"),
    [
        ({}, None),
        ({"content_length": "many"}, None),
        ({"content_length": "70"}, 70),
        ({"content_length": "70", "content_encoding": "identity"}, 70),
    ],
)
async def test_the_length_of_a_form(headers: dict[str, str], length: int | None) -> None:
    envelope = await upload(field("model", b"m") + b"--q--\r\n", **headers).open()
    assert envelope.body.length == length


async def test_the_length_of_an_encoded_form_is_unknown() -> None:
    raw = gzip.compress(field("model", b"m") + b"--q--\r\n")
    headers = {"content_length": str(len(raw)), "content_encoding": "gzip"}
    envelope = await upload(raw, **headers).open()
    assert (envelope.model, envelope.body.length, envelope.cost.units) == ("m", None, 1)


@pytest.mark.parametrize("raw", [field("model", b"") + b"--q", field("file", b"x"), b"--no"])
async def test_a_form_that_is_refused_holds_nothing(raw: bytes) -> None:
    client = upload(raw)
    with pytest.raises(BadRequest):
        await client.open()
    assert client.held == (0, 0)


def table(*specs: dict[str, Any]) -> RouteTable:
    return RouteTable.build(Route(ModelSpec.model_validate(spec)) for spec in specs)


def speech(name: str, most: int) -> dict[str, Any]:
    return {"model": name, "task": "speech", "limits": {"maxAudioBytes": most}}


def chat(name: str, most: int) -> dict[str, Any]:
    return {"model": name, "task": "chat", "limits": {"maxBodyBytes": most}}


def test_before_the_model_is_known_the_largest_limit_of_the_path_holds() -> None:
    models = table(chat("a", 20_000), chat("b", 30_000), speech("c", 10**8), speech("d", 2 * 10**8))
    assert path_limit(models, CHAT) == 30_000
    assert path_limit(models, SPEECH) == 2 * 10**8 + FORM_BYTES
    # Of a path for every task, all models count.
    assert path_limit(models, PATHS["/tokenize"]) >= 30_000


def test_a_path_without_models_has_the_default_limit() -> None:
    for rule in (CHAT, SPEECH):
        assert path_limit(table(), rule) == body_limit(DEFAULT_SPEC, rule.kind)


def test_the_limit_of_a_model_depends_on_the_format() -> None:
    spec = ModelSpec.model_validate(chat("a", 20_000))
    assert body_limit(spec, BodyKind.JSON) == 20_000
    assert body_limit(spec, BodyKind.MULTIPART) == spec.limits.max_audio_bytes + FORM_BYTES
