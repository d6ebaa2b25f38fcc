"""Downloads over real sockets: complete, interrupted, resumed, changed, refused, too slow."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fleet_weights.address import Web
from fleet_weights.errors import Stopped, WeightsError
from fleet_weights.plan import FilePart
from fleet_weights.transfer.download import Downloader, file_name
from fleet_weights.transfer.progress import ProgressTracker
from fleet_weights.transfer.retry_policy import RetryPolicy

BODY = bytes(range(256)) * 4096
SHA = hashlib.sha256(BODY).hexdigest()


def get(url: str, folder: Path, retry_policy: RetryPolicy, **piece: Any) -> Path:
    with Downloader({}, ProgressTracker(None), retry_policy) as downloader:
        return downloader.get(FilePart(Web(url), **piece), folder)


def part(url: str, folder: Path) -> Path:
    return folder / f"{file_name(url)}.part"


def test_a_whole_file(server: Any, tmp_path: Path, fast_retries: RetryPolicy) -> None:
    url = server.put("/a.gguf", BODY)
    reports: list[tuple[int, int | None]] = []
    with Downloader(
        {}, ProgressTracker(lambda *now: reports.append(now)), fast_retries
    ) as downloader:
        path = downloader.get(FilePart(Web(url), SHA), tmp_path)
    assert path.read_bytes() == BODY
    assert reports[-1] == (len(BODY), len(BODY))
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_resumes_after_a_broken_connection(
    server: Any, tmp_path: Path, fast_retries: RetryPolicy
) -> None:
    url = server.put("/a.gguf", BODY, etag='"v1"', break_after=300_000)
    assert get(url, tmp_path, fast_retries, sha256=SHA).read_bytes() == BODY
    first, second = server.headers("/a.gguf")
    assert "range" not in first
    begun = int(second["range"].removeprefix("bytes=").rstrip("-"))
    assert 0 < begun <= 300_000
    assert second["if-range"] == '"v1"'


def test_resumes_in_another_process(server: Any, tmp_path: Path, fast_retries: RetryPolicy) -> None:
    url = server.put("/a.gguf", BODY, etag='"v1"')
    beginning = part(url, tmp_path)
    beginning.write_bytes(BODY[:1000])
    beginning.with_name(f"{beginning.name}.etag").write_text('"v1"')
    assert get(url, tmp_path, fast_retries, sha256=SHA).read_bytes() == BODY
    assert server.headers("/a.gguf")[0]["range"] == "bytes=1000-"


def test_restarts_when_the_file_changed(
    server: Any, tmp_path: Path, fast_retries: RetryPolicy
) -> None:
    url = server.put("/a.gguf", BODY, etag='"v2"')
    beginning = part(url, tmp_path)
    beginning.write_bytes(b"of the old version")
    beginning.with_name(f"{beginning.name}.etag").write_text('"v1"')
    assert get(url, tmp_path, fast_retries).read_bytes() == BODY


def test_restarts_without_an_etag(server: Any, tmp_path: Path, fast_retries: RetryPolicy) -> None:
    url = server.put("/a.gguf", BODY)
    part(url, tmp_path).write_bytes(b"who knows")
    assert get(url, tmp_path, fast_retries).read_bytes() == BODY
    assert "range" not in server.headers("/a.gguf")[0]


def test_a_range_that_starts_elsewhere_is_not_appended(
    server: Any, tmp_path: Path, fast_retries: RetryPolicy
) -> None:
    # 206 with the range from 0 on, whatever was requested; no checksum would notice.
    url = server.put("/a.gguf", BODY, status=206, etag='"v1"')
    beginning = part(url, tmp_path)
    beginning.write_bytes(BODY[:1000])
    beginning.with_name(f"{beginning.name}.etag").write_text('"v1"')
    assert get(url, tmp_path, fast_retries).read_bytes() == BODY
    first, second = server.headers("/a.gguf")
    assert first["range"] == "bytes=1000-"
    assert "range" not in second


def test_a_server_without_ranges(server: Any, tmp_path: Path, fast_retries: RetryPolicy) -> None:
    url = server.put("/a.gguf", BODY, ranges=False, etag='"v1"', break_after=1000)
    assert get(url, tmp_path, fast_retries, sha256=SHA).read_bytes() == BODY


def test_a_partial_file_that_is_complete(
    server: Any, tmp_path: Path, fast_retries: RetryPolicy
) -> None:
    url = server.put("/a.gguf", BODY)
    part(url, tmp_path).write_bytes(BODY)
    assert get(url, tmp_path, fast_retries, sha256=SHA).read_bytes() == BODY


def test_a_partial_file_longer_than_the_file(
    server: Any, tmp_path: Path, fast_retries: RetryPolicy
) -> None:
    url = server.put("/a.gguf", BODY)
    part(url, tmp_path).write_bytes(BODY + b"more")
    assert get(url, tmp_path, fast_retries, sha256=SHA).read_bytes() == BODY


def test_a_file_with_a_wrong_checksum_is_deleted(
    server: Any, tmp_path: Path, fast_retries: RetryPolicy
) -> None:
    url = server.put("/a.gguf", BODY)
    with pytest.raises(WeightsError, match=SHA) as caught:
        get(url, tmp_path, fast_retries, sha256="0" * 64)
    assert "damaged" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_file_with_a_wrong_git_hash_is_deleted(
    server: Any, tmp_path: Path, fast_retries: RetryPolicy
) -> None:
    url = server.put("/config.json", b"{}")
    with pytest.raises(WeightsError):
        get(url, tmp_path, fast_retries, blob="0" * 40)
    blob = hashlib.sha1(b"blob 2\0{}").hexdigest()
    assert get(url, tmp_path, fast_retries, blob=blob).read_bytes() == b"{}"


def test_a_missing_file_is_not_retried(
    server: Any, tmp_path: Path, fast_retries: RetryPolicy
) -> None:
    with pytest.raises(WeightsError, match="404") as caught:
        get(f"{server.url}/gone.gguf", tmp_path, fast_retries)
    assert "Correct the address" in caught.value.hint
    assert len(server.seen) == 1


def test_gives_up_after_a_bounded_number_of_tries(
    server: Any, tmp_path: Path, fast_retries: RetryPolicy
) -> None:
    url = server.put("/a.gguf", b"busy", status=503, headers={"retry-after": "9999"})
    with pytest.raises(WeightsError, match="503"):
        get(url, tmp_path, fast_retries)
    assert len(server.seen) == fast_retries.attempts


def test_an_unreachable_server(tmp_path: Path, fast_retries: RetryPolicy, new_server: Any) -> None:
    with pytest.raises(WeightsError, match="could not be reached") as caught:
        get("http://127.0.0.1:1/a.gguf", tmp_path, fast_retries)
    assert "HF_ENDPOINT" in caught.value.hint


def test_a_read_timeout_resumes_the_download(
    server: Any, tmp_path: Path, fast_retries: RetryPolicy
) -> None:
    silence = threading.Event()
    url = server.put("/a.gguf", BODY, break_after=1000, wait=silence, etag='"v1"')
    short_timeout = replace(fast_retries, read_seconds=0.2)
    try:
        assert get(url, tmp_path, short_timeout, sha256=SHA).read_bytes() == BODY
    finally:
        silence.set()
    assert len(server.seen) == 2


def test_too_slow_a_server_is_an_error(
    server: Any, tmp_path: Path, fast_retries: RetryPolicy
) -> None:
    url = server.put("/a.gguf", BODY)
    never_enough = replace(fast_retries, window_seconds=0, window_bytes=1 << 40, attempts=1)
    with pytest.raises(WeightsError, match="too slowly"):
        get(url, tmp_path, never_enough)


def test_more_bytes_than_announced(server: Any, tmp_path: Path, fast_retries: RetryPolicy) -> None:
    url = server.put("/a.gguf", BODY, announce=10)
    # HTTP itself ends the body where it was announced to end; the checksum then fails.
    with pytest.raises(WeightsError):
        get(url, tmp_path, fast_retries, sha256=SHA)


def test_stop_ends_a_download_and_keeps_it(
    server: Any, tmp_path: Path, fast_retries: RetryPolicy
) -> None:
    url = server.put("/a.gguf", BODY)
    stop = threading.Event()
    tracker = ProgressTracker(lambda done, total: stop.set(), stop)
    with Downloader({}, tracker, fast_retries) as downloader, pytest.raises(Stopped):
        downloader.get(FilePart(Web(url), SHA), tmp_path)
    assert part(url, tmp_path).is_file()


def test_redirects_are_followed_but_not_for_ever(
    server: Any, tmp_path: Path, fast_retries: RetryPolicy
) -> None:
    server.put("/a", status=302, headers={"location": "/b"})
    server.put("/b", BODY)
    assert get(f"{server.url}/a", tmp_path, fast_retries).read_bytes() == BODY
    server.put("/c", status=302, headers={"location": "/c"})
    with pytest.raises(WeightsError, match="redirects more than"):
        get(f"{server.url}/c", tmp_path, fast_retries)
