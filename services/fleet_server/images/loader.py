"""Loads images from data URLs (RFC 2397) and, if the spec allows it, from http(s) URLs."""

from __future__ import annotations

import asyncio
import base64
import binascii
import functools
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from fleet_contract.errors import BadRequest, FleetError, TooLarge
from fleet_contract.spec import ModelSpec
from fleet_server.budgets.image_memory import BYTES_PER_PIXEL, ImageMemory
from fleet_server.images import decode
from fleet_server.images.fetch import Fetcher, Resolve, resolve
from fleet_server.images.hosts import Permitted, is_public

DECODERS = 2
"""Images decoded at the same time; each may need several bytes per pixel of `max_pixels`."""
SCHEMES = ("http", "https")


@dataclass(frozen=True, slots=True)
class ImageFile:
    """The file of an image, of which only the header was read: `size` is width and height."""

    content: bytes
    size: tuple[int, int]


class ImageLoader:
    """Loads images from their URLs, within the `memory` of all that are decoded."""

    def __init__(
        self,
        spec: ModelSpec,
        memory: ImageMemory,
        permitted: Permitted = is_public,
        resolver: Resolve = resolve,
    ) -> None:
        self._settings = spec.images
        self._memory = memory
        self._fetcher = Fetcher(spec.images, permitted, resolver)
        self._pool = ThreadPoolExecutor(DECODERS, thread_name_prefix="image")

    async def pictures(
        self, urls: Iterable[tuple[str, str]], held: AsyncExitStack, most_pixels: int | None
    ) -> list[Any]:
        """The pictures at URLs, each with its place in the request, as upright RGB
        `PIL.Image.Image`s that are reduced to `most_pixels`.

        They are decoded once there is memory for all of them, which `held` gives back. Raises
        BadRequest or TooLarge with `param`, and Timeout.
        """
        files = [(await self.load(url, place), place) for url, place in urls]
        if not files:
            return []
        most = most_pixels or self._settings.max_pixels
        pixels = sum(min(most, file.size[0] * file.size[1]) for file, _ in files)
        await held.enter_async_context(self._memory.held(BYTES_PER_PIXEL * pixels))
        return [await self._decoded(file, place, most_pixels) for file, place in files]

    async def _decoded(self, file: ImageFile, place: str, most_pixels: int | None) -> Any:
        most = self._settings.max_pixels
        try:
            return await self._run(decode.to_rgb, file.content, most, most_pixels)
        except FleetError as error:
            error.param = place
            raise

    async def load(self, url: str, param: str | None = None) -> ImageFile:
        """The file at `url`.

        Raises BadRequest or TooLarge with `param`, the place of the URL in the request.
        """
        try:
            return await self._load(url)
        except FleetError as error:
            error.param = error.param or param
            raise

    async def _load(self, url: str) -> ImageFile:
        scheme = url.partition(":")[0].lower()
        if scheme == "data":
            content = await self._run(read_data_url, url, self._settings.max_bytes)
        elif scheme not in SCHEMES:
            raise BadRequest(
                "An image's URL must be a data: URL, or begin with http:// or https://."
            )
        elif not self._settings.allow_remote:
            raise BadRequest(
                "This server does not fetch images; send a data: URL. The operator of the server "
                "can allow it with ALLOW_REMOTE_IMAGES=1 (`images.allowRemote: true`).",
                code="remote_images_off",
            )
        else:
            content = await self._fetcher.fetch(url)
        size = await self._run(decode.size_of, content, self._settings.max_pixels)
        return ImageFile(content, size)

    async def _run(self, function: Any, *args: Any) -> Any:
        work = functools.partial(function, *args)
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)


def most_pixels(model: Any) -> int | None:
    """To how many pixels images for `model` are reduced, None for any number."""
    most: int | None = getattr(model, "most_pixels", None)
    return most


def read_data_url(url: str, max_bytes: int) -> bytes:
    """The bytes in `data:image/...;base64,...`.

    Raises BadRequest for any other data URL, TooLarge beyond `max_bytes`.
    """
    head, comma, body = url.partition(",")
    media_type, *parameters = head[len("data:") :].split(";")
    if not comma or "base64" not in parameters[-1:]:
        raise BadRequest(
            "An image's data URL must be base64: data:image/png;base64,...", code="invalid_image"
        )
    if not media_type.lower().startswith("image/"):
        raise BadRequest(
            "An image's data URL must have an image type, such as image/png.", code="invalid_image"
        )
    # Check the decoded size before decoding.
    size = len(body) * 3 // 4 - body[-2:].count("=")
    if size > max_bytes:
        raise TooLarge(f"The image has {size} bytes; at most {max_bytes} are accepted.")
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadRequest(
            f"The image's data URL is not valid base64: {error}.", code="invalid_image"
        ) from None
