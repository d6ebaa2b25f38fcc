"""The `model` field of a form, however the body is split into chunks."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from fleet_contract.errors import BadRequest
from fleet_router.request.multipart import ModelFinder
from fleet_router.request.spool import MEMORY_BYTES, Spool
from fleet_web.request_body.byte_budget import ByteBudget

TYPE = 'multipart/form-data; boundary="q"'
BODY = (
    b'--q\r\nContent-Disposition: form-data; name="file"; filename="model"\r\n'
    b'Content-Type: audio/wav\r\n\r\nname="model"\r\n--not\r\n'
    b'--q\r\ncontent-disposition: form-data; name="model_name"\r\n\r\nwrong\r\n'
    b'--q\r\nCONTENT-DISPOSITION: form-data; name="model"\r\n\r\nacme/one\r\n'
    b'--q\r\ncontent-disposition: form-data; name="language"\r\n\r\nen\r\n--q--\r\n'
)


def test_it_is_found_wherever_the_body_is_cut() -> None:
    for at in range(len(BODY)):
        finder = ModelFinder(TYPE)
        finder.feed(BODY[:at])
        finder.feed(BODY[at:])
        finder.finish()
        assert finder.model == "acme/one"


def test_byte_by_byte_it_is_done_before_the_end() -> None:
    finder = ModelFinder(TYPE)
    for at in range(len(BODY)):
        finder.feed(BODY[at : at + 1])
        if finder.done:
            break
    assert finder.model == "acme/one"
    assert at < len(BODY) - 60


@pytest.mark.parametrize(
    "kind", ["", "application/json", "multipart/form-data", "multipart/form-data; boundary=",
             "multipart/mixed; boundary=q", "multipart/form-data; boundary=" + "q" * 5000],
)  # fmt: skip
def test_another_type_is_refused(kind: str) -> None:
    with pytest.raises(BadRequest):
        ModelFinder(kind).feed(b"--q")


SECOND = [
    b'; name="model"',
    b"; name=model",
    b'; name="Model"',
    b'; name="MODEL"',
    b"; name*=utf-8''model",
    b'; name="n"; name="model"',
    b'; name="model"; name="n"',
    b"; name=n; name*=utf-8''model",
    b'; name="n"; name*0="mo"; name*1="del"',
    b'; name="n"\r\ncontent-disposition: form-data; name="model"',
]


@pytest.mark.parametrize("name", SECOND)
@pytest.mark.parametrize("size", [1, 10_000])
async def test_a_second_model_is_refused_and_not_passed_on(name: bytes, size: int) -> None:
    head = b'--q\r\ncontent-disposition: form-data; name="model"\r\n\r\nacme/one\r\n'
    rest = b"--q\r\ncontent-disposition: form-data" + name + b"\r\n\r\nacme/two\r\n--q--\r\n"

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(rest), size):
            yield rest[at : at + size]

    finder, passed = ModelFinder(TYPE), b""
    finder.feed(head)

    async def pass_on() -> None:
        nonlocal passed
        async for piece in finder.checked(pieces()):
            passed += piece

    with pytest.raises(BadRequest):
        await pass_on()
    assert b"acme/two" not in passed


@pytest.mark.parametrize("name", [b"Model", b"mODEL"])
def test_the_name_in_another_case_is_refused(name: bytes) -> None:
    with pytest.raises(BadRequest, match="its name is 'model'"):
        ModelFinder(TYPE).feed(
            b'--q\r\ncontent-disposition: form-data; name="%b"\r\n\r\nacme/one\r\n' % name
        )


def test_a_filename_may_contain_any_characters() -> None:
    finder = ModelFinder(TYPE)
    finder.feed(
        b'--q\r\ncontent-disposition: form-data; name="file"; filename="a; name=b.wav"\r\n\r\n'
        b"x\r\n--q--\r\n"
    )
    finder.finish()


async def test_a_spool_gives_back_what_it_got_once() -> None:
    memory, disk = ByteBudget(2**30), ByteBudget(2**30)
    spool = Spool(memory.reserve("a"), disk.reserve("a"))
    pieces = [bytes([n]) * (MEMORY_BYTES // 3) for n in range(10)]
    for piece in pieces:
        await spool.add(piece)
    assert b"".join([piece async for piece in spool.chunks()]) == b"".join(pieces)
    await spool.close()
    await spool.close()
    assert [piece async for piece in spool.chunks()] == []
