"""ImageLoader: one image address of a chat request to one picture."""

from __future__ import annotations

import asyncio
import functools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fleet_contract.errors import BadRequest, FleetError
from fleet_contract.spec import ModelSpec
from fleet_server.images import data_url, decode
from fleet_server.images.addresses import Permitted, is_public
from fleet_server.images.fetch import Fetcher
from fleet_server.images.resolve import Resolve, resolve

DECODERS = 2
"""Images decoded at the same time; each may need a few bytes for each of `max_pixels`."""
SCHEMES = ("http", "https")


class ImageLoader:
    """Reads data URLs, and http(s) addresses where the spec allows them."""

    def __init__(
        self, spec: ModelSpec, permitted: Permitted = is_public, resolver: Resolve = resolve
    ) -> None:
        self._settings = spec.images
        self._fetcher = Fetcher(spec.images, permitted, resolver)
        self._pool = ThreadPoolExecutor(DECODERS, thread_name_prefix="image")

    async def load(self, url: str, param: str | None = None) -> Any:
        """The picture at `url`, an RGB `PIL.Image.Image` turned upright.

        Raises BadRequest or TooLarge with `param`, the place of the address in the request.
        """
        try:
            return await self._load(url)
        except FleetError as error:
            error.param = error.param or param
            raise

    async def _load(self, url: str) -> Any:
        scheme = url.partition(":")[0].lower()
        if scheme == "data":
            content = await self._run(data_url.read, url, self._settings.max_bytes)
        elif scheme not in SCHEMES:
            raise BadRequest("An image address must be a data: URL or begin with http(s)://.")
        elif not self._settings.allow_remote:
            raise BadRequest(
                "This server reads no images from other addresses; send a data: URL. Whoever runs "
                "it can allow them with ALLOW_REMOTE_IMAGES=1 (`images.allowRemote: true`).",
                code="remote_images_off",
            )
        else:
            content = await self._fetcher.fetch(url)
        return await self._run(decode.to_rgb, content, self._settings.max_pixels)

    async def _run(self, function: Any, *args: Any) -> Any:
        work = functools.partial(function, *args)
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)
