"""Strictness of data URLs."""

from __future__ import annotations

import base64

import pytest

from fleet_contract.errors import BadRequest, TooLarge
from fleet_server.images.loader import read_data_url

CONTENT = bytes(range(256)) * 4
ENCODED = base64.b64encode(CONTENT).decode()


@pytest.mark.parametrize("head", ["data:image/png;base64,", "data:IMAGE/jpeg;charset=x;base64,"])
def test_reads_base64(head: str) -> None:
    assert read_data_url(head + ENCODED, 10_000) == CONTENT


@pytest.mark.parametrize(
    "url",
    [
        "data:", "data:image/png", "data:image/png;base64", "data:image/png,abcd",
        "data:text/plain;base64," + ENCODED, "data:;base64," + ENCODED,
        "data:image/png;base64,***", "data:image/png;base64,abc", "data:image/png;base64,ab cd",
        "data:image/png;base64,abcd\n", "data:image/png;base64,-_-_",
        "data:image/png;base64,\u00e4",
    ],
)  # fmt: skip
def test_refuses_the_rest(url: str) -> None:
    with pytest.raises(BadRequest):
        read_data_url(url, 10_000)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 1000])
def test_the_limit_is_exact(size: int) -> None:
    url = "data:image/png;base64," + base64.b64encode(b"x" * size).decode()
    assert len(read_data_url(url, size)) == size
    if size:
        with pytest.raises(TooLarge, match=f"{size} bytes; at most {size - 1}"):
            read_data_url(url, size - 1)
