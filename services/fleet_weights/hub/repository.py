"""The files of a model in a repository of the hub, with sizes and checksums.

API: huggingface.co/docs/hub/api (GET /api/models/<repo>/revision/<revision>?blobs=true). A branch
is resolved to its commit first, so that all files are of one version.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from fleet_weights import gguf_names
from fleet_weights.address import Hub, Web
from fleet_weights.allowed import check_name, check_path
from fleet_weights.errors import WeightsError
from fleet_weights.hub.onnx_data import external_files
from fleet_weights.hub.selection import WeightsFormat, choose
from fleet_weights.plan import File, FilePart

if TYPE_CHECKING:
    from fleet_weights.transfer.download import Downloader

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RepositoryFile:
    """A file of a repository; large files have a `sha256`, small ones git's `blob` id."""

    path: str
    size: int | None
    sha256: str | None
    blob: str | None


def listing_url(address: Hub, downloader: Downloader) -> str:
    """The URL that lists the files of the repository at the revision."""
    repo, revision = quote(address.repo), quote(address.revision, safe="")
    return f"{downloader.web.endpoint}/api/models/{repo}/revision/{revision}?blobs=true"


def files(
    address: Hub,
    downloader: Downloader,
    sha256: str | None,
    parts_folder: Path | None = None,
    kind: WeightsFormat | None = None,
    vision: bool = False,
) -> list[File]:
    """The files to download for `address`. Raises WeightsError.

    `sha256` is that of the spec, for an address of one file; `kind` is the format to take. With
    `parts_folder`, ONNX graphs are downloaded there first, and their external data is included.
    With `vision`, the image projector beside a GGUF file that the address names is included.
    """
    listing = downloader.json(listing_url(address, downloader))
    commit, entries = read(listing, address)
    one_file = address.path in entries
    folder = address.path.rpartition("/")[0] if one_file else address.path
    prefix = f"{folder}/" if folder else ""
    projector = None
    if vision and one_file and address.path.endswith(".gguf"):
        projector = gguf_names.projector_beside(address.path, entries)

    def made(entry: RepositoryFile) -> File:
        own = None if entry.path == projector else sha256
        part = file_part(entry, address, commit, downloader, own)
        return File(entry.path.removeprefix(prefix), (part,), own)

    wanted = {entry.path: made(entry) for entry in _wanted(address, entries, sha256, kind)}
    if projector is not None:
        wanted[projector] = made(entries[projector])
    if parts_folder is not None and not one_file:
        for path in [path for path in wanted if path.endswith(".onnx")]:
            graph = downloader.get(wanted[path].parts[0], parts_folder)
            for entry in _external(path, graph, entries, address):
                wanted.setdefault(entry.path, made(entry))
    return list(wanted.values())


def file_part(
    entry: RepositoryFile,
    address: Hub,
    commit: str,
    downloader: Downloader,
    sha256: str | None = None,
) -> FilePart:
    """The download of a file at `commit`, checked against `sha256`, else the hub's checksum."""
    root = f"{downloader.web.endpoint}/{quote(address.repo)}/resolve/{quote(commit, safe='')}"
    blob = entry.blob if entry.sha256 is None else None
    web = Web(f"{root}/{quote(entry.path)}")
    return FilePart(web, sha256 or entry.sha256, entry.size, blob, token=True)


def _external(
    path: str, graph: Path, entries: dict[str, RepositoryFile], address: Hub
) -> list[RepositoryFile]:
    """The external data files of the graph at `path` of the repository."""
    folder = path.rpartition("/")[0]
    named = [f"{folder}/{name}" if folder else name for name in external_files(graph)]
    missing = [name for name in named if name not in entries]
    if missing:
        raise WeightsError(
            f"hf://{address.repo} does not hold {missing[0]}, which has tensors of {path}.",
            "The repository is incomplete; name another revision.",
        )
    return [entries[name] for name in named]


def read(listing: Any, address: Hub) -> tuple[str, dict[str, RepositoryFile]]:
    """Commit and entries of the hub's listing. Raises WeightsError for anything else."""
    try:
        commit = str(listing.get("sha") or address.revision)
        entries = [_entry(raw, address) for raw in listing["siblings"]]
    except (AttributeError, KeyError, TypeError) as error:
        raise WeightsError(
            f"The response for hf://{address.repo} is not a listing of a hub.", "Check HF_ENDPOINT."
        ) from error
    return commit, {entry.path: entry for entry in entries}


def _entry(raw: dict[str, Any], address: Hub) -> RepositoryFile:
    large = raw.get("lfs") or {}
    size = raw.get("size")
    return RepositoryFile(
        check_path(raw["rfilename"], f"hf://{address.repo}"),
        size if isinstance(size, int) and size >= 0 else None,
        large.get("sha256"),
        raw.get("blobId") if not large else None,
    )


def _wanted(
    address: Hub, entries: dict[str, RepositoryFile], sha256: str | None, kind: WeightsFormat | None
) -> list[RepositoryFile]:
    if address.path in entries:
        check_name(address.path, entries)
        names = gguf_names.parts(address.path)
        if missing := [name for name in names if name not in entries]:
            raise WeightsError(f"hf://{address.repo} has no file {missing[0]}.")
        return [entries[name] for name in names]
    if sha256 is not None:
        raise WeightsError(
            f"hf://{address.repo} with a sha256 must name one file, not {address.path!r}."
        )
    prefix = f"{address.path}/" if address.path else ""
    inside = [path.removeprefix(prefix) for path in entries if path.startswith(prefix)]
    return [entries[prefix + path] for path in choose(inside, f"hf://{address.repo}", kind)]
