"""Multipart bodies, well-formed and not, in chunks of every size."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from fleet_contract.errors import BadRequest, FleetError, QueueFull, TooLarge
from fleet_server.audio.form import MAX_FIELD_BYTES, MAX_PARTS, SPOOL_BYTES, Form, FormReader
from fleet_server.audio.scratch import Scratch

TYPE = "multipart/form-data; boundary=xyz"


def part(name: str, value: bytes, *, filename: str | None = None) -> bytes:
    named = f'; filename="{filename}"' if filename else ""
    head = f'--xyz\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n'
    return head.encode() + value + b"\r\n"


END = b"--xyz--\r\n"
PLAIN = part("model", b"tiny") + part("file", b"\x00\x01--xyz\r\n-", filename="a.wav") + END


@pytest.fixture
def form() -> Iterator[Form]:
    with Form(Scratch(1 << 30)) as made:
        yield made


def read(form: Form, body: bytes, *, limit: int = 1000, size: int = 7, kind: str = TYPE) -> None:
    reader = FormReader(kind, form, limit)
    for start in range(0, len(body), size):
        reader.feed(body[start : start + size])
    reader.finish()


@pytest.mark.parametrize("size", [1, 2, 3, 5, 11, 64, 10_000])
def test_pieces_of_every_size(form: Form, size: int) -> None:
    read(form, PLAIN, size=size)
    assert form.fields == [("model", "tiny")]
    assert form.file is not None
    assert form.file.read() == b"\x00\x01--xyz\r\n-"
    assert form.file_bytes == 10


def test_the_order_of_fields_does_not_matter(form: Form) -> None:
    body = part("file", b"abc", filename="a") + part("model", b"t") + part("x[]", b"1") + END
    read(form, body)
    assert form.fields == [("model", "t"), ("x[]", "1")]


def test_headers_of_any_case_and_a_recording_without_a_name(form: Form) -> None:
    body = b"--xyz\r\ncontent-DISPOSITION: form-data; NAME=file\r\nX-Other: 1\r\n\r\nabc\r\n" + END
    read(form, body)
    assert form.file is not None
    assert form.file.read() == b"abc"


def test_data_after_the_end_is_ignored(form: Form) -> None:
    read(form, PLAIN + b"epilogue " * 50)
    assert form.fields == [("model", "tiny")]


def test_a_large_recording_is_written_to_a_file(form: Form) -> None:
    content = random.Random(1).randbytes(SPOOL_BYTES + 5)
    read(form, part("file", content, filename="a") + END, limit=len(content), size=65_536)
    assert form.file is not None
    assert form.file._rolled  # type: ignore[attr-defined]
    assert form.file.read() == content


def test_the_recording_has_a_limit(form: Form) -> None:
    read(form, part("file", b"x" * 1000, filename="a") + END)
    with Form(Scratch(1 << 30)) as other, pytest.raises(TooLarge, match="1000") as caught:
        read(other, part("file", b"x" * 1001, filename="a") + END)
    assert caught.value.param == "file"


@pytest.mark.parametrize(
    "kind",
    ["", "application/json", "multipart/form-data", "multipart/form-data; boundary=",
     "multipart/mixed; boundary=xyz", 'multipart/form-data; boundary="', "multipart/form-data;;;=",
     f"multipart/form-data; boundary={'b' * 5000}"],
)  # fmt: skip
def test_other_types_of_body(form: Form, kind: str) -> None:
    with pytest.raises(BadRequest):
        read(form, PLAIN, kind=kind)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"nothing of the kind", b"--xyz", b"--xyz\r\n", b"--xy--\r\n", b"{}",
        PLAIN.removesuffix(END), PLAIN[:-3].removesuffix(b"--"), PLAIN[:60],
        b"--xyz\r\n\r\nno name\r\n" + END,
        b"--xyz\r\nContent-Disposition: form-data\r\n\r\nno name\r\n" + END,
        b"--xyz\r\nno colon\r\n\r\nx\r\n" + END,
        b"--xyz\r\n: empty\r\n\r\nx\r\n" + END,
        b"--xyz\r\nA: " + b"x" * 100_000 + b"\r\n\r\nx\r\n" + END,
        b"--xyz\r\n" + b"A: b\r\n" * 10_000 + b"\r\nx\r\n" + END,
        part("model", b"\xff\xfe") + END,
        part("prompt", b"x" * (MAX_FIELD_BYTES + 1)) + END,
        b"".join(part(f"f{number}", b"") for number in range(MAX_PARTS + 1)) + END,
        part("file", b"a", filename="a") + part("file", b"b", filename="b") + END,
    ],
)  # fmt: skip
@pytest.mark.parametrize("size", [1, 4096])
def test_invalid_forms_are_refused(form: Form, body: bytes, size: int) -> None:
    with pytest.raises(BadRequest):
        read(form, body, size=size)


def test_damaged_bodies_end_in_a_form_or_a_refusal() -> None:
    chance = random.Random(20)
    body = part("model", b"tiny") + part("file", b"abc" * 30, filename="a.wav") + END
    read_whole = 0
    for _ in range(3000):
        damaged = bytearray(body)
        for _ in range(chance.randrange(1, 4)):
            place = chance.randrange(len(damaged))
            match chance.randrange(3):
                case 0:
                    damaged[place] = chance.randrange(256)
                case 1:
                    del damaged[place : place + chance.randrange(1, 20)]
                case _:
                    damaged[place:place] = chance.choice([b"\r\n", b"--", b"--xyz", b"\0", b'"'])
            if not damaged:
                break
        with Form(Scratch(1 << 30)) as form:
            try:
                read(form, bytes(damaged), size=chance.randrange(1, 40))
                read_whole += 1
            except FleetError as error:
                assert error.status in (400, 413)  # noqa: PT017
    assert 0 < read_whole < 3000


@pytest.mark.parametrize("value", [b"x" * (MAX_FIELD_BYTES + 1), b"\xff\xfb\x90"])
def test_a_recording_under_another_name_is_a_hint(form: Form, value: bytes) -> None:
    with pytest.raises(BadRequest, match=r"'audio'.*recording must be sent in the field 'file'"):
        read(form, part("audio", value, filename="a.wav") + END, size=65_536)
    with pytest.raises(BadRequest) as caught:
        read(form, part("prompt", value) + END, size=65_536)
    assert "recording" not in caught.value.message


@pytest.mark.parametrize("name", ["file", "file[]", "file[0]"])
def test_every_spelling_of_the_recordings_field(form: Form, name: str) -> None:
    read(form, part(name, b"abc", filename="a") + END)
    assert form.file is not None
    assert form.file.read() == b"abc"


def test_uploads_of_all_requests_share_their_space() -> None:
    scratch = Scratch(100)
    with Form(scratch, "a") as first, Form(scratch, "a") as second, Form(scratch, "b") as other:
        read(first, part("file", b"x" * 50, filename="a") + END)
        with pytest.raises(QueueFull, match="half of them for one caller"):
            read(second, part("file", b"x", filename="a") + END)
        read(other, part("file", b"x" * 50, filename="a") + END)
        with Form(scratch, "c") as third, pytest.raises(QueueFull):
            read(third, part("file", b"x", filename="a") + END)
        first.take().close()
        with Form(scratch, "c") as third:
            read(third, part("file", b"x" * 50, filename="a") + END)
    assert scratch.used == 0
