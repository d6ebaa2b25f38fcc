"""Authenticates callers by API key and admits their requests within the key's limits.

Without a key file every request is admitted, which is meant for a loopback address or a closed
network.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fleet_contract.errors import Forbidden, RateLimited, Unauthorized
from fleet_router.callers.keys import Key, Keys, parse
from fleet_router.callers.quota import Quota
from fleet_router.callers.request_record import RequestRecord
from fleet_web.logs import event

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0
BEARER = b"bearer "


class Auth:
    """`path` is the key file; None admits everyone."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._keys: Keys | None = None
        self._quotas: dict[str, Quota] = {}
        self._file_version: tuple[int, int, int] | None = None

    @property
    def required(self) -> bool:
        """Whether callers need a key."""
        return self._path is not None

    def load(self) -> None:
        """Read the file. Raises ValueError or OSError with the reason."""
        if self._path is None:
            return
        # The version before the content: a change in between is then noticed at the next poll.
        stat = self._path.stat()
        self._file_version = stat.st_mtime_ns, stat.st_size, stat.st_ino
        self._keys = parse(self._path.read_bytes())
        old = self._quotas
        self._quotas = {key.name: _renewed(old.get(key.name), key) for key in
                        self._keys.by_hash.values()}  # fmt: skip

    async def watch(self) -> None:
        """Reload the file whenever it changes. If it is broken, the old keys stay valid."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            self.refresh()

    def refresh(self) -> None:
        """Reload the file if it changed; errors are logged once per change."""
        if self._path is None:
            return
        try:
            stat = self._path.stat()
            if (stat.st_mtime_ns, stat.st_size, stat.st_ino) == self._file_version:
                return
            self.load()
        except (OSError, ValueError) as error:
            event(logger, "keys_not_reloaded", level=logging.ERROR, error=str(error))
        else:
            event(logger, "keys_loaded", number=len(self._quotas))

    def identify(self, headers: Iterable[tuple[bytes, bytes]]) -> Quota | None:
        """The quota of the caller's key; None without a key file. Raises Unauthorized."""
        if self._path is None:
            return None
        presented = _presented_key(headers)
        if not presented:
            raise Unauthorized(
                "No API key: send one as `Authorization: Bearer KEY`.", code="missing_api_key"
            )
        key = self._keys.find(presented) if self._keys is not None else None
        if key is None:
            raise Unauthorized("Invalid API key.")
        return self._quotas[key.name]

    def check(self, quota: Quota | None, model: str, images: int, record: RequestRecord) -> None:
        """Raises Forbidden and RateLimited if `admitted` would, and counts nothing."""
        if quota is None:
            return
        _check_model(quota, model)
        try:
            quota.check(images)
        except RateLimited:
            record.limit_headers = quota.headers()
            raise

    @contextmanager
    def admitted(
        self, quota: Quota | None, model: str, images: int, record: RequestRecord
    ) -> Iterator[None]:
        """Count a request as running while the block runs. Raises Forbidden or RateLimited."""
        if quota is None:
            yield
            return
        _check_model(quota, model)
        try:
            quota.admit(images)
        finally:
            # Refusals have these headers as well.
            record.limit_headers = quota.headers()
        try:
            yield
        finally:
            quota.release(record.usage)


def _check_model(quota: Quota, model: str) -> None:
    """Raises Forbidden."""
    if not quota.key.may_use(model):
        raise Forbidden(
            f"This API key may not use {model!r}.", param="model", code="model_not_allowed"
        )


def _renewed(old: Quota | None, key: Key) -> Quota:
    """The same object for a known key: requests that run end on the quota they began with."""
    if old is None:
        return Quota(key)
    old.renew(key)
    return old


def has_key(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a request presents a key, valid or not."""
    return bool(_presented_key(headers))


def _presented_key(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    for name, value in headers:
        if name == b"authorization" and value[:7].lower() == BEARER and (key := value[7:].strip()):
            return key
    return next((value.strip() for name, value in headers if name == b"x-api-key"), b"")
