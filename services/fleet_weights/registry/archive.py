"""Reads the layers of an image without unpacking more than the files that are wanted.

Layers are tar archives. An upper layer replaces files of the layers below it, or removes them by
whiteouts (github.com/opencontainers/image-spec, layer.md). Links are followed within the image.
"""

from __future__ import annotations

import gzip
import hashlib
import posixpath
import shutil
import sys
import tarfile
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from fleet_weights.errors import WeightsError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CHUNK = 1 << 20
MAX_MEMBERS = 20_000
MAX_HEADER_BYTES = 1 << 20
"""Maximum bytes between two files of an archive, such as extended headers, which are read whole."""
SMALL = 1 << 30
MAX_RATIO = 50
"""Archives larger than SMALL may have this many times the size of their compressed layer."""
MAX_LINKS = 8
WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
_DAMAGED = (tarfile.TarError, OSError, EOFError, zlib.error, zstd.ZstdError)


@dataclass(frozen=True, slots=True)
class Archive:
    """A downloaded layer; `compression` is `gzip`, `zstd` or empty."""

    path: Path
    compression: str


@dataclass(frozen=True, slots=True)
class ArchiveMember:
    """A file in the archive `layer`, the member number `index`, or a link to `target`."""

    layer: int
    index: int
    size: int
    target: str | None = None


def entries(archives: Sequence[Archive], check: Callable[[], None]) -> dict[str, ArchiveMember]:
    """The files of an image by path, links resolved. Raises WeightsError."""
    found: dict[str, ArchiveMember] = {}
    for layer, archive in enumerate(archives):
        own: dict[str, ArchiveMember] = {}
        for index, (member, _) in enumerate(_members(archive, check)):
            path = _normal(member.name)
            folder, _, name = path.rpartition("/")
            if name == OPAQUE:
                _remove(found, folder, keep_itself=True)
            elif name.startswith(WHITEOUT):
                _remove(found, _join(folder, name.removeprefix(WHITEOUT)))
            elif member.isfile() and not member.issparse():
                own[path] = ArchiveMember(layer, index, member.size)
            elif member.issym():
                own[path] = ArchiveMember(layer, index, 0, _join(folder, member.linkname))
            elif member.islnk():
                own[path] = ArchiveMember(layer, index, 0, _normal(member.linkname))
        found |= own
    resolved = {path: _resolved(path, found) for path in found}
    return {path: entry for path, entry in resolved.items() if entry is not None}


def extract(
    archives: Sequence[Archive],
    wanted: Mapping[str, ArchiveMember],
    folder: Path,
    check: Callable[[], None],
) -> dict[str, tuple[Path, str]]:
    """Write the wanted files into `folder`; path and SHA-256 of each. Raises WeightsError."""
    written: dict[str, tuple[Path, str]] = {}
    for layer in sorted({entry.layer for entry in wanted.values()}):
        paths: dict[int, list[str]] = {}
        for path, entry in wanted.items():
            if entry.layer == layer:
                paths.setdefault(entry.index, []).append(path)
        for index, (_, content) in enumerate(_members(archives[layer], check)):
            if index not in paths or content is None:
                continue
            first, *others = paths[index]
            target = folder / _file_name(first)
            sha256 = _write(content, target, check)
            written[first] = (target, sha256)
            for path in others:
                written[path] = (Path(shutil.copyfile(target, folder / _file_name(path))), sha256)
    return written


class _Meter:
    """A stream that may be read for `left` more bytes, and for `total` in all."""

    def __init__(self, file: IO[bytes], total: int, archive: Path) -> None:
        self._file = file
        self._archive = archive
        self.left = MAX_HEADER_BYTES
        self._total = total

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.left -= len(data)
        self._total -= len(data)
        if self.left < 0 or self._total < 0:
            name = self._archive.name
            raise WeightsError(f"The layer {name} unpacks to more bytes than allowed.")
        return data


def _members(
    archive: Archive, check: Callable[[], None]
) -> Iterator[tuple[tarfile.TarInfo, IO[bytes] | None]]:
    """The members of an archive with their contents, which are read in order."""
    limit = max(SMALL, archive.path.stat().st_size * MAX_RATIO)
    try:
        with _opened(archive) as file:
            meter: Any = _Meter(file, limit, archive.path)
            with tarfile.open(fileobj=meter, mode="r|") as tar:
                for count, member in enumerate(tar):
                    if count >= MAX_MEMBERS:
                        raise WeightsError(
                            f"The layer {archive.path.name} has more than {MAX_MEMBERS} files."
                        )
                    check()
                    # A sparse file can be far larger than its archive.
                    is_file = member.isfile() and not member.issparse()
                    content = tar.extractfile(member) if is_file else None
                    meter.left = member.size + MAX_HEADER_BYTES
                    yield member, content
                    while content is not None and content.read(CHUNK):
                        check()
                    meter.left = MAX_HEADER_BYTES
    except _DAMAGED as error:
        raise WeightsError(f"The layer {archive.path.name} is damaged: {error}.") from error


def _opened(archive: Archive) -> Any:
    if archive.compression == "gzip":
        return gzip.open(archive.path)
    return zstd.open(archive.path) if archive.compression == "zstd" else archive.path.open("rb")


def _write(content: IO[bytes], target: Path, check: Callable[[], None]) -> str:
    digest = hashlib.sha256()
    with target.open("wb") as out:
        while chunk := content.read(CHUNK):
            check()
            out.write(chunk)
            digest.update(chunk)
    return digest.hexdigest()


def _file_name(path: str) -> str:
    return f"member-{hashlib.sha256(path.encode()).hexdigest()[:32]}"


def _normal(path: str) -> str:
    """The path from the root of the image; `..` does not lead above it."""
    return posixpath.normpath(f"/{path}").lstrip("/")


def _join(folder: str, path: str) -> str:
    return _normal(path if path.startswith("/") else f"{folder}/{path}")


def _remove(found: dict[str, ArchiveMember], path: str, *, keep_itself: bool = False) -> None:
    below = f"{path}/" if path else ""
    gone: Collection[str] = [one for one in found if one.startswith(below)]
    for one in gone:
        del found[one]
    if not keep_itself:
        found.pop(path, None)


def _resolved(path: str, found: Mapping[str, ArchiveMember]) -> ArchiveMember | None:
    """The file that a path stands for; None for a link that leads nowhere or to a folder."""
    entry = found.get(path)
    for _ in range(MAX_LINKS):
        if entry is None or entry.target is None:
            return entry
        entry = found.get(entry.target)
    return None
