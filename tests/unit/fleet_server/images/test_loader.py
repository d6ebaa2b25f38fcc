"""Addresses of images end to end, against real servers on the loopback."""

from __future__ import annotations

import asyncio
import base64
import gzip
import io
import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from fleet_contract.errors import BadRequest, FleetError, TooLarge
from fleet_contract.spec import ModelSpec
from fleet_server.budgets.image_memory import ImageMemory
from fleet_server.images import ImageLoader
from fleet_server.images.hosts import IpAddress, is_public


def picture_file() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 4), (255, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


PICTURE = picture_file()
MEMORY = ImageMemory(1000, 5)
Served = tuple[str, list[str]]
Handler = Callable[[str, asyncio.StreamWriter], Awaitable[None]]


def loader(*, resolver: Any = None, permitted: Any = None, **images: Any) -> ImageLoader:
    spec = ModelSpec.model_validate(
        {"model": "m", "vision": True, "images": {"allowRemote": True} | images}
    )
    extra = {} if resolver is None else {"resolver": resolver}
    return ImageLoader(spec, MEMORY, permitted or only("127.0.0.1"), **extra)


def only(*allowed: str) -> Callable[[IpAddress], bool]:
    return lambda address: str(address) in allowed


@asynccontextmanager
async def serving(handler: Handler, host: str = "127.0.0.1") -> AsyncIterator[Served]:
    """A bare HTTP server; yields its address and the requested paths."""
    paths: list[str] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            paths.append(head.split(b" ", 2)[1].decode())
            await handler(paths[-1], writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, host, 0)
    async with server:
        yield f"http://{host}:{server.sockets[0].getsockname()[1]}", paths


def http_response(body: bytes, status: str = "200 OK", **headers: str) -> bytes:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status}\r\n{lines}content-length: {len(body)}\r\n\r\n".encode() + body


async def picture(path: str, writer: asyncio.StreamWriter) -> None:
    writer.write(http_response(PICTURE, content_type="image/png"))


async def refusal(work: Awaitable[Any]) -> FleetError:
    with pytest.raises(FleetError) as caught:
        await work
    return caught.value


async def test_a_data_url() -> None:
    url = "data:image/png;base64," + base64.b64encode(PICTURE).decode()
    assert (await loader(allowRemote=False).load(url)).size == (8, 4)


async def test_errors_name_the_field() -> None:
    error = await refusal(loader().load("data:image/png;base64,AAAA", "messages[1].content[2]"))
    assert isinstance(error, BadRequest)
    assert error.param == "messages[1].content[2]"


@pytest.mark.parametrize(
    "url", ["ftp://host/x", "file:///etc/hostname", "x", "/x", "", "HTTPX://a"]
)
async def test_other_schemes(url: str) -> None:
    assert "data: URL" in (await refusal(loader().load(url))).message


async def test_remote_images_are_disabled_and_the_error_names_the_setting() -> None:
    async with serving(picture) as (url, paths):
        spec = ModelSpec(model="m", vision=True)
        error = await refusal(ImageLoader(spec, MEMORY, only("127.0.0.1")).load(url))
        assert "ALLOW_REMOTE_IMAGES=1" in error.message
        assert (error.status, paths) == (400, [])


async def test_a_remote_image() -> None:
    async with serving(picture) as (url, paths):
        assert (await loader().load(f"{url}/a%20b?c=d#e")).size == (8, 4)
        assert paths == ["/a%20b?c=d"]


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]", "0"]
)
async def test_the_loopback_is_refused_however_it_is_written(host: str) -> None:
    async with serving(picture) as (url, paths):
        port = url.rpartition(":")[2]
        error = await refusal(loader(permitted=is_public).load(f"http://{host}:{port}/"))
        assert error.status == 400
        assert paths == []


async def names(host: str, port: int) -> list[IpAddress]:
    """Every name is that of a test server here."""
    return [ipaddress.ip_address("127.0.0.1")]


async def test_a_listed_host_may_be_private_and_others_may_not() -> None:
    async with serving(picture) as (url, paths):
        port = url.rpartition(":")[2]
        made = loader(permitted=is_public, resolver=names, allowedHosts=["images.internal"])
        assert (await made.load(f"http://images.internal:{port}/a")).size == (8, 4)
        error = await refusal(made.load(f"http://other.internal:{port}/b"))
        assert "not on this server's list" in error.message
        error = await refusal(made.load(f"{url}/c"))
        assert "not on this server's list" in error.message
        assert paths == ["/a"]


async def test_the_loopback_is_reached_through_a_listed_block() -> None:
    async with serving(picture) as (url, _):
        made = loader(permitted=is_public, allowedHosts=["127.0.0.0/8"])
        assert (await made.load(f"{url}/a")).size == (8, 4)


async def test_a_listed_host_may_not_redirect_to_another() -> None:
    async def away(path: str, writer: asyncio.StreamWriter) -> None:
        writer.write(
            http_response(b"", "302 Found", location=f"http://other.internal:{port}/secret")
        )

    async with serving(away) as (url, paths):
        port = url.rpartition(":")[2]
        made = loader(permitted=is_public, resolver=names, allowedHosts=["images.internal"])
        error = await refusal(made.load(f"http://images.internal:{port}/a"))
        assert "not on this server's list" in error.message
        assert paths == ["/a"]


async def test_a_listed_name_is_resolved_once_and_connected_to_that_address() -> None:
    found = ["127.0.0.1", "169.254.169.254"]

    async def rebinding(host: str, port: int) -> list[IpAddress]:
        return [ipaddress.ip_address(found.pop(0))]

    async with serving(picture) as (url, paths):
        port = url.rpartition(":")[2]
        made = loader(permitted=is_public, resolver=rebinding, allowedHosts=["images.internal"])
        address = f"http://images.internal:{port}/a"
        assert (await made.load(address)).size == (8, 4)
        assert found == ["169.254.169.254"]
        assert (await refusal(made.load(address))).status == 400
        assert paths == ["/a"]


async def test_one_private_address_among_public_ones_is_enough_to_refuse() -> None:
    async def resolver(host: str, port: int) -> list[IpAddress]:
        return [ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("10.0.0.1")]

    async with serving(picture) as (url, paths):
        port = url.rpartition(":")[2]
        error = await refusal(loader(resolver=resolver).load(f"http://name.test:{port}/"))
        assert "private network" in error.message
        assert paths == []


async def test_the_connection_uses_the_address_that_was_checked() -> None:
    """A name that resolves to something else the second time (DNS rebinding) gains nothing."""
    asked: list[str] = []

    async def rebinding(host: str, port: int) -> list[IpAddress]:
        asked.append(host)
        return [ipaddress.ip_address("127.0.0.1" if len(asked) == 1 else "127.0.0.2")]

    async with serving(picture) as (url, paths):
        port = url.rpartition(":")[2]
        image = await loader(resolver=rebinding).load(f"http://name.test:{port}/")
        assert image.size == (8, 4)
        assert (asked, paths) == (["name.test"], ["/"])


def redirecting(*targets: str) -> Handler:
    async def handler(path: str, writer: asyncio.StreamWriter) -> None:
        hop = int(path.strip("/") or 0)
        if hop < len(targets):
            writer.write(http_response(b"", "302 Found", location=targets[hop]))
        else:
            writer.write(http_response(PICTURE))

    return handler


async def test_three_redirects_are_followed_and_a_fourth_is_not() -> None:
    async with serving(redirecting("/1", "2", "/3")) as (url, paths):
        assert (await loader().load(url)).size == (8, 4)
        assert paths == ["/", "/1", "/2", "/3"]
    async with serving(redirecting("/1", "/2", "/3", "/4")) as (url, paths):
        assert "more than 3" in (await refusal(loader().load(url))).message
        assert len(paths) == 4


async def test_a_redirect_to_a_private_address_is_refused() -> None:
    async with serving(picture, "127.0.0.2") as (private, private_paths):
        async with serving(redirecting(private)) as (url, paths):
            error = await refusal(loader().load(url))
        assert "private network" in error.message
        assert (len(paths), private_paths) == (1, [])


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://u:p@h/", "http://"]
)
async def test_a_redirect_to_no_plain_http_address(target: str) -> None:
    async with serving(redirecting(target)) as (url, _):
        assert (await refusal(loader().load(url))).status == 400


async def test_a_redirect_without_a_location() -> None:
    async def handler(path: str, writer: asyncio.StreamWriter) -> None:
        writer.write(http_response(b"", "302 Found"))

    async with serving(handler) as (url, _):
        assert "without a location" in (await refusal(loader().load(url))).message


@pytest.mark.parametrize(
    "url", ["http://u:p@127.0.0.1/", "http:///x", "http://h:99999/", "http://[::1/"]
)
async def test_invalid_addresses_are_refused(url: str) -> None:
    assert (await refusal(loader().load(url))).status == 400


async def test_too_long_an_address() -> None:
    error = await refusal(loader().load("http://127.0.0.1/" + "a" * 9000))
    assert "8192" in error.message


async def test_other_statuses() -> None:
    async def handler(path: str, writer: asyncio.StreamWriter) -> None:
        writer.write(http_response(b"secret", "404 Not Found"))

    async with serving(handler) as (url, _):
        error = await refusal(loader().load(url))
        assert "404" in error.message
        assert "secret" not in error.message


@pytest.mark.parametrize("declared", [True, False])
async def test_too_many_bytes_are_not_read(declared: bool) -> None:
    written = 0

    async def handler(path: str, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        length = f"content-length: {10**9}\r\n" if declared else ""
        writer.write(f"HTTP/1.1 200 OK\r\n{length}\r\n".encode())
        while written < 10**8:
            writer.write(bytes(10_000))
            written += 10_000
            await writer.drain()

    async with serving(handler) as (url, _):
        error = await refusal(loader(maxBytes=50_000).load(url))
        assert isinstance(error, TooLarge)
    assert written < 10**8


@pytest.mark.parametrize("where", ["head", "body", "drip"])
async def test_a_slow_server_is_a_timeout(where: str) -> None:
    hanging = asyncio.Event()

    async def handler(path: str, writer: asyncio.StreamWriter) -> None:
        if where != "head":
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
        while where == "drip":
            writer.write(b"x")
            await writer.drain()
            await asyncio.wait([asyncio.ensure_future(hanging.wait())], timeout=0.02)
        await hanging.wait()

    async with serving(handler) as (url, _):
        error = await refusal(loader(timeout=0.3).load(url))
        assert "longer than 0.3 seconds" in error.message
        hanging.set()


async def test_an_address_without_a_server_is_refused() -> None:
    async with serving(picture) as (url, _):
        pass
    assert "cannot be reached" in (await refusal(loader().load(url))).message


async def test_not_http_at_all() -> None:
    async def handler(path: str, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-x\r\n")

    async with serving(handler) as (url, _):
        assert (await refusal(loader().load(url))).status == 400


async def test_a_remote_bomb(pictures: SimpleNamespace) -> None:
    content = pictures.bomb(8000, 8000)

    async def handler(path: str, writer: asyncio.StreamWriter) -> None:
        writer.write(http_response(content))

    async with serving(handler) as (url, _):
        error = await refusal(loader().load(url, "messages[0]"))
        assert (error.code, error.param) == ("image_too_large", "messages[0]")


async def test_a_compressed_body_is_refused() -> None:
    async def handler(path: str, writer: asyncio.StreamWriter) -> None:
        writer.write(http_response(gzip.compress(PICTURE), content_encoding="gzip"))

    async with serving(handler) as (url, _):
        assert "cannot be decoded" in (await refusal(loader().load(url))).message


async def test_pictures_are_decoded_once_there_is_memory_for_all_of_a_request() -> None:
    memory = ImageMemory(3 * 32 * 2, 5)
    made = ImageLoader(ModelSpec(model="m", vision=True), memory)
    url = f"data:image/png;base64,{base64.b64encode(PICTURE).decode()}"
    async with AsyncExitStack() as held:
        first = await made.pictures([(url, "a"), (url, "b")], held, None)
        assert [picture.size for picture in first] == [(8, 4)] * 2
        second = asyncio.create_task(made.pictures([(url, "a")], AsyncExitStack(), 8))
        await asyncio.wait([second], timeout=0.2)
        assert not second.done()
    [reduced] = await second
    assert reduced.size == (4, 2)
    assert memory._used == 3 * 8


async def test_the_place_of_a_damaged_picture(pictures: SimpleNamespace) -> None:
    content = pictures.encode(Image.effect_noise((50, 50), 100))
    url = f"data:image/png;base64,{base64.b64encode(content[:-900]).decode()}"
    made = ImageLoader(ModelSpec(model="m", vision=True), MEMORY)
    async with AsyncExitStack() as held:
        error = await refusal(made.pictures([(url, "messages[0]")], held, None))
    assert (error.code, error.param) == ("invalid_image", "messages[0]")
    assert MEMORY._used == 0
