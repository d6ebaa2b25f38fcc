"""The files of a model's weights and the parts to download, from its spec alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fleet_contract.names import IMAGE_MOUNT
from fleet_contract.spec import ModelSpec
from fleet_weights.address import (
    Address,
    Hub,
    ImagePath,
    LocalFile,
    Package,
    S3Objects,
    VolumePath,
    Web,
    parse,
)
from fleet_weights.allowed import check_name
from fleet_weights.errors import WeightsError


@dataclass(frozen=True, slots=True)
class FilePart:
    """The content of one address, with checksums where they are known.

    `blob` is git's object id of the file (SHA-1 of `blob <size>\\0` and the content); with `token`
    the hub's token may be sent.
    """

    address: Web | Package | LocalFile | VolumePath | ImagePath
    sha256: str | None = None
    size: int | None = None
    blob: str | None = None
    token: bool = False


@dataclass(frozen=True, slots=True)
class File:
    """A file of the model's folder, the concatenation of `parts`."""

    path: str
    parts: tuple[FilePart, ...]
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class FetchPlan:
    """`source` must be listed or downloaded to know its files; `files` are known already."""

    source: Hub | Package | S3Objects | ImagePath | None
    source_sha256: str | None
    files: tuple[File, ...]


def needs_none(spec: ModelSpec) -> bool:
    """Whether the spec has a handler and names no weights."""
    return spec.handler is not None and spec.source is None and not spec.weights


def in_place(spec: ModelSpec) -> LocalFile | VolumePath | ImagePath | None:
    """The address of weights that are used without copying, or None. Raises WeightsError."""
    address = parse(spec.source) if spec.source is not None else None
    if not isinstance(address, LocalFile | VolumePath | ImagePath):
        return None
    if isinstance(address, ImagePath) and not image_is_mounted():
        return None
    if spec.weights:
        raise WeightsError(
            f"{spec.model} has both the source {spec.source} and a list of weights.",
            "Use either `weights` or `source`.",
        )
    return address


def image_is_mounted() -> bool:
    """Whether the operator has mounted the image of an `oci://` source into this pod."""
    return Path(IMAGE_MOUNT).is_dir()


def plan(spec: ModelSpec) -> FetchPlan:
    """The plan of a spec. Raises WeightsError for addresses that cannot be fetched."""
    address = parse(spec.source) if spec.source is not None else None
    files: dict[str, File] = {}
    source: Hub | Package | S3Objects | ImagePath | None = None
    match address:
        case None:
            if not spec.weights:
                raise WeightsError(
                    f"{spec.model} has no source of weights.",
                    f"Set `source`, for example `hf://{spec.model}`.",
                )
        case Web():
            name = address.url.partition("?")[0].partition("#")[0].rpartition("/")[2]
            files[name] = File(name, (_file_part(address, spec.sha256),), spec.sha256)
        case Hub() | Package() | S3Objects() | ImagePath():
            source = address
        case LocalFile() | VolumePath():
            raise WeightsError(f"{spec.source} is used in place.")
    for file in spec.weights:
        parts = tuple(_file_part(parse(part.url), part.sha256, spec.model) for part in file.parts)
        if ".." in file.path.split("/"):
            raise WeightsError(f"{spec.model}: the path {file.path!r} leads outside.")
        files[file.path] = File(file.path, parts, file.sha256)
    for path in files:
        check_name(path, files)
    return FetchPlan(source, spec.sha256, tuple(files.values()))


def _file_part(address: Address, sha256: str | None, model: str = "") -> FilePart:
    if isinstance(address, Hub):
        raise WeightsError(
            f"{model}: hf://{address.repo} cannot be a part of a file.",
            "Name the repository in `source`, or use the https:// address of the file.",
        )
    if isinstance(address, S3Objects):
        raise WeightsError(
            f"{model}: s3://{address.bucket} cannot be a part of a file.",
            "Name the bucket in `source`.",
        )
    if isinstance(address, ImagePath) and not image_is_mounted():
        raise WeightsError(
            f"{model}: oci://{address.reference} is not mounted, and cannot be a part of a file.",
            "Name the image in `source`, which is downloaded where it is not mounted.",
        )
    if isinstance(address, Web) and sha256 is None:
        raise WeightsError(
            f"{address.url} has no sha256.",
            "Weights from https:// need one to verify the download.",
        )
    return FilePart(address, sha256)
