"""Downloads files over HTTP: resumed, verified, with a minimum speed.

<folder>/<name>            a complete file
<folder>/<name>.part       a partial download
<folder>/<name>.part.etag  the ETag of the partial download
"""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from fleet_weights.address import Web
from fleet_weights.assemble import shown, wrong_checksum
from fleet_weights.checksums import digest, git_blob
from fleet_weights.errors import WeightsError
from fleet_weights.plan import FilePart
from fleet_weights.transfer.progress import ProgressTracker
from fleet_weights.transfer.retry_policy import RETRY_POLICY, RetryPolicy
from fleet_weights.transfer.web_client import Retry, WebClient

T = TypeVar("T")
SIGNATURE = "X-Amz-Signature="


class Downloader:
    """One HTTP client for all files of a fetch; thread-safe."""

    def __init__(
        self,
        environ: Mapping[str, str],
        tracker: ProgressTracker,
        retry_policy: RetryPolicy = RETRY_POLICY,
    ) -> None:
        self.web = WebClient(environ, retry_policy)
        self._tracker = tracker
        self._retry_policy = retry_policy

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.web.close()

    def json(self, url: str) -> Any:
        """A JSON document of the hub. Raises WeightsError."""
        return self._with_retries(lambda: self.web.json(url, with_token=True), lambda: 0)

    def body(self, url: str, headers: Mapping[str, str], limit: int) -> bytes:
        """The body of a response, up to `limit` bytes. Raises WeightsError."""
        return self._with_retries(lambda: self.web.body(url, headers, limit), lambda: 0)

    def get(self, file_part: FilePart, folder: Path) -> Path:
        """Download a part and verify it; the path of the file. Raises WeightsError."""
        assert isinstance(file_part.address, Web)  # noqa: S101  (other addresses are not downloaded here)
        url = file_part.address.url
        target = folder / file_name(url)
        if target.is_file():
            size = target.stat().st_size
            self._tracker.update(url, size, size)
            return target
        part = target.with_name(f"{target.name}.part")
        self._with_retries(lambda: self._stream(file_part, url, part), lambda: _size(part))
        self._check(file_part, part)
        _etag_file(part).unlink(missing_ok=True)
        part.replace(target)
        return target

    def _with_retries(self, attempt: Callable[[], T], size: Callable[[], int]) -> T:
        """Repeat `attempt` on Retry; the count restarts after an attempt with enough progress.

        `size` is the number of bytes downloaded so far.
        """
        failures = 0
        while True:
            before = size()
            self._tracker.check()
            try:
                return attempt()
            except Retry as retry:
                enough = size() - before >= self._retry_policy.window_bytes
                failures = 1 if enough else failures + 1
                if failures >= self._retry_policy.attempts:
                    raise retry.final from None
                self._pause(self._retry_policy.pause(failures, retry.after))

    def _stream(self, file_part: FilePart, url: str, part: Path) -> None:
        begun = _size(part)
        validator = _read(_etag_file(part))
        headers = {"accept-encoding": "identity"}
        if begun and (validator or file_part.sha256 or file_part.blob):
            headers["range"] = f"bytes={begun}-"
            if validator:
                headers["if-range"] = validator
        with self.web.stream(url, headers, with_token=file_part.token) as response:
            if response.status_code == 416:
                # The partial download is complete, or longer than the file is now.
                if begun == (file_part.size or _range_total(response)):
                    return
                part.unlink(missing_ok=True)
                raise Retry(WeightsError(f"{shown(file_part)} changed while it was downloaded."))
            resumed = response.status_code == 206 and _range_start(response) == begun
            if not resumed:
                begun = 0
                if response.status_code == 206:
                    part.unlink(missing_ok=True)
                    raise Retry(
                        WeightsError(f"{shown(file_part)}: the response has the wrong range.")
                    )
                _write_etag(part, response)
            length = response.headers.get("content-length")
            total = begun + int(length) if length and length.isdigit() else file_part.size
            if file_part.size is not None and total is not None and total > file_part.size:
                raise WeightsError(
                    f"{shown(file_part)} has {total} bytes, not {file_part.size} as listed."
                )
            self._receive(response, part, url, begun, total, append=resumed)
        if total is not None and _size(part) < total:
            raise Retry(
                WeightsError(f"{shown(file_part)} broke off at {_size(part)} of {total} bytes.")
            )

    def _receive(
        self, response: httpx.Response, part: Path, url: str, begun: int, total: int | None,
        *, append: bool,
    ) -> None:  # fmt: skip
        done = begun
        window_started, window_bytes = time.monotonic(), 0
        with part.open("ab" if append else "wb") as file:
            self._tracker.update(url, done, total)
            for chunk in self.web.chunks(response):
                self._tracker.check()  # before writing: after `fail` the fetch may have restarted
                file.write(chunk)
                done += len(chunk)
                window_bytes += len(chunk)
                if total is not None and done > total:
                    raise WeightsError(
                        f"{url.partition('?')[0]} sent more than its content-length."
                    )
                self._tracker.update(url, done, total)
                elapsed = time.monotonic() - window_started
                if elapsed > self._retry_policy.window_seconds:
                    if window_bytes < self._retry_policy.window_bytes:
                        raise Retry(
                            WeightsError(
                                f"{url.partition('?')[0]} sends too slowly "
                                f"({window_bytes / elapsed:.0f} bytes per second).",
                                "Try again, or set HF_ENDPOINT to a nearer mirror.",
                            )
                        )
                    window_started, window_bytes = time.monotonic(), 0

    def _check(self, file_part: FilePart, part: Path) -> None:
        """Verify the checksum; delete a wrong file, so that the next attempt starts over."""
        if file_part.sha256 is not None:
            wanted, found = file_part.sha256, digest(part)
        elif file_part.blob is not None:
            wanted, found = file_part.blob, git_blob(part)
        else:
            return
        if wanted != found:
            part.unlink()
            _etag_file(part).unlink(missing_ok=True)
            raise wrong_checksum(shown(file_part), wanted, found)

    def _pause(self, seconds: float) -> None:
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0:
            self._tracker.check()
            threading.Event().wait(min(left, 0.2))


def file_name(url: str) -> str:
    """A file name for a URL: a hash and the end of its path.

    Without the signature of a signed URL, which differs each time.
    """
    if SIGNATURE in url:
        url = url.partition("?")[0]
    tail = re.sub(r"[^A-Za-z0-9._-]", "-", url.partition("?")[0].rpartition("/")[2])[-80:]
    return f"{hashlib.sha256(url.encode()).hexdigest()[:16]}-{tail}"


def _etag_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.etag")


def _write_etag(part: Path, response: httpx.Response) -> None:
    etag = response.headers.get("etag", "")
    # Only a strong validator may be used with If-Range (RFC 9110, section 13.1.5).
    _etag_file(part).write_text("" if etag.startswith("W/") else etag)


def _read(file: Path) -> str:
    return file.read_text() if file.is_file() else ""


def _size(file: Path) -> int:
    return file.stat().st_size if file.is_file() else 0


def _range_start(response: httpx.Response) -> int | None:
    found = re.match(r"bytes (\d+)-\d+/(?:\d+|\*)$", response.headers.get("content-range", ""))
    return int(found[1]) if found else None


def _range_total(response: httpx.Response) -> int | None:
    found = re.match(r"bytes \*/(\d+)$", response.headers.get("content-range", ""))
    return int(found[1]) if found else None
