"""Reads the manifest of an image: its layers, or the files of an artifact.

Sources: github.com/opencontainers/distribution-spec and image-spec. Layers are archives of an
image, or, with the title that `oras push` sets, single files.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from fleet_contract.settings import parse_list
from fleet_weights.address import ImagePath
from fleet_weights.errors import WeightsError
from fleet_weights.registry.logins import DOCKER_HUB, Login, basic

if TYPE_CHECKING:
    from fleet_weights.transfer.download import Downloader

MAX_MANIFEST_BYTES = 4 << 20
"""The size up to which registries have to accept manifests, by the specification."""
MAX_LAYERS = 512
MANIFESTS = (
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.docker.distribution.manifest.v2+json"
)
TITLE = "org.opencontainers.image.title"
ARCHIVE = re.compile(r".*[./](?:tar)(?:[.+](?P<compression>gzip|zstd))?$")
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Layer:
    """A blob: an archive with its `compression`, "" for none, or a file with its `title`."""

    url: str
    sha256: str
    size: int
    compression: str | None
    title: str


def layers(address: ImagePath, downloader: Downloader, environ: Mapping[str, str]) -> list[Layer]:
    """The layers of an image, lowest first. Raises WeightsError."""
    name, _, digest = address.reference.partition("@")
    host, _, rest = name.partition("/")
    repository, _, tag = rest.partition(":")
    if host == DOCKER_HUB and "/" not in repository:
        repository = f"library/{repository}"
    base = f"{scheme(host, environ)}://{_server(host)}/v2/{repository}"
    web = downloader.web
    web.logins[f"{base}/"] = Login(
        base, basic(host, environ), lambda url, headers: web.json(url, headers=headers)
    )
    found = _manifest(downloader, base, digest or tag)
    if isinstance(found.get("manifests"), list):
        found = _manifest(downloader, base, _of_platform(found["manifests"], base))
    listed = found.get("layers")
    if not isinstance(listed, list) or len(listed) > MAX_LAYERS:
        raise WeightsError(f"{base} holds no image that can be read.", "Check the reference.")
    return [_layer(raw, base) for raw in listed]


def scheme(host: str, environ: Mapping[str, str]) -> str:
    """`http` for a registry on the loopback interface or in INSECURE_REGISTRIES."""
    plain = parse_list(environ.get("INSECURE_REGISTRIES", ""))
    return "http" if host in plain or urlsplit(f"//{host}").hostname in LOOPBACK else "https"


def _server(host: str) -> str:
    return "registry-1.docker.io" if host == DOCKER_HUB else host


def _manifest(downloader: Downloader, base: str, reference: str) -> dict[str, Any]:
    url = f"{base}/manifests/{reference}"
    body = downloader.body(url, {"accept": MANIFESTS}, MAX_MANIFEST_BYTES)
    if _DIGEST.fullmatch(reference):
        found = f"sha256:{hashlib.sha256(body).hexdigest()}"
        if found != reference:
            raise WeightsError(f"{url} has the digest {found}.", "The registry is damaged.")
    try:
        manifest = json.loads(body)
    except ValueError:
        manifest = None
    if not isinstance(manifest, dict):
        raise WeightsError(f"{url} is not a manifest of an image.", "Check the reference.")
    return manifest


def _of_platform(manifests: list[Any], base: str) -> str:
    """Digest of the manifest for this machine, else of the first that is not an attestation."""
    wanted = ARCHITECTURES.get(platform.machine(), platform.machine())
    known: list[tuple[str, str]] = []
    for raw in manifests:
        found = raw.get("platform") if isinstance(raw, dict) else None
        architecture = str((found or {}).get("architecture", ""))
        if isinstance(raw, dict) and _DIGEST.fullmatch(str(raw.get("digest"))):
            known.append((architecture, str(raw["digest"])))
    usable = [one for one in known if one[0] != "unknown"]
    if not usable:
        raise WeightsError(f"{base} holds no image that can be read.", "Check the reference.")
    return next((digest for one, digest in usable if one == wanted), usable[0][1])


def _layer(raw: Any, base: str) -> Layer:
    try:
        kind, digest, size = str(raw["mediaType"]), str(raw["digest"]), raw["size"]
        title = str((raw.get("annotations") or {}).get(TITLE, ""))
    except (AttributeError, KeyError, TypeError):
        raise WeightsError(f"The manifest of {base} is not valid.") from None
    if not _DIGEST.fullmatch(digest) or not isinstance(size, int) or size < 0:
        raise WeightsError(f"The manifest of {base} is not valid.")
    archive = ARCHIVE.fullmatch(kind)
    if archive is None and not title:
        raise WeightsError(
            f"{base} has a layer of the type {kind}.",
            "Push an image, or files with `oras push`.",
        )
    url = f"{base}/blobs/{digest}#{title}"  # one blob may be several files
    compression = (archive["compression"] or "") if archive is not None else None
    return Layer(url, digest.removeprefix("sha256:"), size, compression, title)
