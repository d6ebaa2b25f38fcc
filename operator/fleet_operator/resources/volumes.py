"""Volumes of a model server's pod: scratch space, weights, claims of sources, small files.

Those on the node's disk have a size limit, beyond which the kubelet evicts the pod.

`files` are stored as annotations of the pod and mounted by the downward API: they need no
ConfigMap to watch, and a change is a new version of the pod template.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from fleet_contract.names import GROUP, IMAGE_MOUNT, PVC_MOUNT
from fleet_contract.spec import ModelSpec
from fleet_contract.status import INVALID_SPEC
from fleet_operator.features import Features
from fleet_operator.names import MODELS_MOUNT
from fleet_operator.resources import estimate
from fleet_operator.resources.images import Problem, as_served
from fleet_operator.resources.pod_parts import image_source, node_cache
from fleet_operator.resources.profiles import ModelCache

FILES_BYTES = 200_000
"""Limit of all `files` together; Kubernetes allows 256 KiB of annotations."""
CLAIM_SCHEME = "pvc://"
CACHE_SUFFIX = "-cache"
IMAGE_FORM = "oci://registry/repository:tag@digest/path, with a tag or a digest"
FOREIGN_BUCKET = (
    "s3: the image of engine {engine} reads buckets by itself, if it does: leave `s3` out and set "
    "the variables of its client in `env`"
)
FOREIGN_ADAPTER = (
    "adapters: vLLM's own server loads {name!r} itself, from hf://org/repo without a revision or "
    "path, pvc://, oci:// or file://, and without sha256"
)
FOREIGN_SOURCES = re.compile(r"hf://[^/@]+/[^/@]+|(?:pvc|oci|file)://.+")
NO_FEATURES = Features()
NO_IMAGE_VOLUMES = (
    "engine {engine} and lists of weights read oci:// addresses from image volumes only, which "
    "Kubernetes has from 1.35 on (IMAGE_VOLUMES)"
)


@dataclass(frozen=True, slots=True)
class Storage:
    """Volumes and annotations of the pod, and mounts of its server.

    `outlives_pod`: fetched and converted weights are stored on a claim or in a folder of the node,
    and not in the pod's own storage. `node_cache` is the cache that has that folder.
    `downloads_image`: the server downloads the image of an `oci://` source, which is not mounted.
    """

    volumes: tuple[dict[str, Any], ...]
    mounts: tuple[dict[str, Any], ...]
    annotations: dict[str, str]
    outlives_pod: bool
    node_cache: ModelCache | None = None
    downloads_image: bool = False


def storage(
    name: str,
    spec: ModelSpec,
    cache: ModelCache | None,
    namespace: str = "",
    features: Features = NO_FEATURES,
    pull_policy: str = "IfNotPresent",
) -> Storage | Problem:
    """The storage of a server of the InferenceModel `name` in `namespace`."""
    claims = source_claims(spec)
    if len(claims) > 1:
        return Problem(INVALID_SPEC, f"weights must be on one claim, not on {', '.join(claims)}")
    if sum(len(file.content.encode()) for file in spec.files) > FILES_BYTES:
        return Problem(INVALID_SPEC, f"files: more than {FILES_BYTES} bytes in total")
    if spec.is_foreign and spec.bucket is not None:
        return Problem(INVALID_SPEC, FOREIGN_BUCKET.format(engine=spec.engine.value))
    for adapter in spec.adapters if spec.is_foreign else ():
        if adapter.sha256 is not None or not FOREIGN_SOURCES.fullmatch(adapter.source):
            return Problem(INVALID_SPEC, FOREIGN_ADAPTER.format(name=adapter.name))
    served = as_served(spec)
    images = source_images(spec)
    if None in images:
        return Problem(INVALID_SPEC, f"{spec.source} is not of the form {IMAGE_FORM}")
    if len(images) > 1:
        return Problem(INVALID_SPEC, f"weights must be in one image, not in {len(images)}")
    downloaded = downloads_image(spec, features)
    if downloaded:
        if spec.is_foreign or not (spec.source or "").startswith(image_source.SCHEME):
            message = NO_IMAGE_VOLUMES.format(engine=spec.engine.value)
            return Problem("ImageVolumesUnavailable", message)
        images = []
    node_cache_used = node_cache.on_node(spec, cache)
    if node_cache_used is not None:
        models = node_cache.volume(node_cache_used, namespace)
    else:
        models = _models(name, cache, estimate.files(served))
    volumes: list[dict[str, Any]] = [_empty("tmp", estimate.scratch(served)), models]
    mounts: list[dict[str, Any]] = [
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  (a path in the pod)
        {"name": "models", "mountPath": MODELS_MOUNT},
    ]
    for claim in claims:
        volumes.append(
            {"name": "weights", "persistentVolumeClaim": {"claimName": claim, "readOnly": True}}
        )
        mounts.append({"name": "weights", "mountPath": PVC_MOUNT, "readOnly": True})
    for image in images:
        volumes.append({"name": "image", "image": {"reference": image, "pullPolicy": pull_policy}})
        mounts.append({"name": "image", "mountPath": IMAGE_MOUNT, "readOnly": True})
    annotations = {f"{GROUP}/file-{i}": file.content for i, file in enumerate(spec.files)}
    if spec.files:
        items = [
            {"path": f"file-{i}", "fieldRef": {"fieldPath": f"metadata.annotations['{key}']"}}
            for i, key in enumerate(annotations)
        ]
        volumes.append({"name": "files", "downwardAPI": {"items": items}})
    # By subPath, so that other files of the image in the same folder stay visible.
    for i, file in enumerate(spec.files):
        mounts.append(
            {"name": "files", "mountPath": file.path, "subPath": f"file-{i}", "readOnly": True}
        )
    kept = "emptyDir" not in models
    return Storage(tuple(volumes), tuple(mounts), annotations, kept, node_cache_used, downloaded)


def downloads_image(spec: ModelSpec, features: Features) -> bool:
    """Whether the server has to download the image of an `oci://` source."""
    return bool(source_images(spec)) and not features.image_volumes


def source_claims(spec: ModelSpec) -> list[str]:
    """Names of the claims that hold weights."""
    found = [
        address.removeprefix(CLAIM_SCHEME).partition("/")[0]
        for address in addresses(spec)
        if address.startswith(CLAIM_SCHEME)
    ]
    return list(dict.fromkeys(found))


def source_images(spec: ModelSpec) -> list[str | None]:
    """References of the images that hold weights; None for one that is not valid."""
    found = [address for address in addresses(spec) if address.startswith(image_source.SCHEME)]
    return list(dict.fromkeys(map(image_source.reference, found)))


def addresses(spec: ModelSpec) -> Iterator[str]:
    """All source addresses of the weights, adapters and draft model included."""
    if spec.source:
        yield spec.source
    yield from (adapter.source for adapter in spec.adapters)
    if spec.speculative.draft is not None:
        yield spec.speculative.draft.source
    parts: Iterable[Any] = (part for file in spec.weights for part in file.parts)
    yield from (part.url for part in parts)


def cache_claim_name(name: str) -> str:
    """Name of the cache claim of the InferenceModel `name`."""
    return f"{name}{CACHE_SUFFIX}"


def model_of_claim(claim: str) -> str | None:
    """Name of the InferenceModel whose cache claim has this name; None if none can have it."""
    return claim.removesuffix(CACHE_SUFFIX) if claim.endswith(CACHE_SUFFIX) else None


def _models(name: str, cache: ModelCache | None, size: int) -> dict[str, Any]:
    if cache is None or cache.node or (cache.claim is None and cache.size is None):
        return _empty("models", size)
    claim = cache.claim or cache_claim_name(name)
    return {"name": "models", "persistentVolumeClaim": {"claimName": claim}}


def _empty(name: str, size: int) -> dict[str, Any]:
    return {"name": name, "emptyDir": {"sizeLimit": estimate.gibibytes(size)}}
