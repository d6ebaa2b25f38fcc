"""The `model` field of a form, however the body is cut into pieces."""

from __future__ import annotations

import pytest

from fleet_contract.errors import BadRequest
from fleet_router.request.multipart import ModelFinder
from fleet_router.request.spool import MEMORY_BYTES, Spool

TYPE = 'multipart/form-data; boundary="q"'
BODY = (
    b'--q\r\nContent-Disposition: form-data; name="file"; filename="model"\r\n'
    b'Content-Type: audio/wav\r\n\r\nname="model"\r\n--not\r\n'
    b'--q\r\ncontent-disposition: form-data; name="model_name"\r\n\r\nwrong\r\n'
    b'--q\r\nCONTENT-DISPOSITION: form-data; name="model"\r\n\r\nacme/one\r\n'
    b'--q\r\ncontent-disposition: form-data; name="model"\r\n\r\nacme/two\r\n--q--\r\n'
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


async def test_a_spool_gives_back_what_it_got_once() -> None:
    spool = Spool()
    pieces = [bytes([n]) * (MEMORY_BYTES // 3) for n in range(10)]
    for piece in pieces:
        await spool.add(piece)
    assert b"".join([piece async for piece in spool.chunks()]) == b"".join(pieces)
    await spool.close()
    await spool.close()
    assert [piece async for piece in spool.chunks()] == []
