"""The files of a model in an image: files of an artifact, or files in the image's layers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from fleet_weights.address import ImagePath, Web
from fleet_weights.allowed import check_name, check_path
from fleet_weights.assemble import MODELS
from fleet_weights.errors import WeightsError
from fleet_weights.hub.selection import WeightsFormat, choose
from fleet_weights.plan import File, FilePart
from fleet_weights.registry import archive
from fleet_weights.registry.archive import Archive
from fleet_weights.registry.image import Layer


def downloads(
    layers: Sequence[Layer], address: ImagePath, sha256: str | None, kind: WeightsFormat | None
) -> tuple[list[File], list[Layer]]:
    """Files to download as they are, and layers to download and unpack. Raises WeightsError.

    `sha256` is that of the spec, for an address of one file; `kind` is the format to take.
    """
    archives = [layer for layer in layers if layer.compression is not None]
    if archives:
        return [], archives
    where = f"oci://{address.reference}"
    by_path = {check_path(layer.title, where): layer for layer in layers}
    files = []
    for path, inner in _wanted(by_path, address, sha256, kind).items():
        layer = by_path[inner]
        files.append(File(path, (file_part(layer),), sha256))
    return files, []


def file_part(layer: Layer) -> FilePart:
    """The download of a layer."""
    return FilePart(Web(layer.url), layer.sha256, layer.size)


def unpack(
    archives: Sequence[Archive],
    address: ImagePath,
    sha256: str | None,
    kind: WeightsFormat | None,
    folder: Path,
    check: Callable[[], None],
    check_space: Callable[[int], None],
) -> list[tuple[File, Path]]:
    """The model's files in downloaded layers, extracted into `folder`. Raises WeightsError.

    `check_space` is called with the bytes that are about to be written.
    """
    found = archive.entries(archives, check)
    wanted = _wanted(found, address, sha256, kind)
    check_space(sum(found[inner].size for inner in wanted.values()))
    made = archive.extract(archives, {inner: found[inner] for inner in wanted.values()},
                           folder, check)  # fmt: skip
    files = []
    for path, inner in wanted.items():
        written, digest = made[inner]
        part = FilePart(Web(f"oci://{address.reference}/{inner}"), digest)
        files.append((File(path, (part,), sha256), written))
    return files


def _wanted(
    paths: Collection[str], address: ImagePath, sha256: str | None, kind: WeightsFormat | None
) -> Mapping[str, str]:
    """Path in the model's folder to path in the image, of the files to take.

    Without a path in the address they are in the folder `models` of the image, if it has one.
    """
    where = f"oci://{address.reference}"
    if address.path in paths:
        check_name(address.path, paths)
        return {address.path.rpartition("/")[2]: address.path}
    if sha256 is not None:
        raise WeightsError(f"{where} with a sha256 must name one file, not {address.path!r}.")
    root = address.path
    if not root and any(path.startswith(f"{MODELS}/") for path in paths):
        root = MODELS
    prefix = f"{root}/" if root else ""
    inside = [check_path(path, where).removeprefix(prefix)
              for path in paths if path.startswith(prefix)]  # fmt: skip
    return {path: prefix + path for path in choose(inside, where, kind)}
