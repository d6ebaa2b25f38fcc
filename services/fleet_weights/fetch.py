"""Finds the weights of a model on disk, and fetches them if they are missing."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Mapping
from pathlib import Path

from fleet_contract.spec import ModelSpec
from fleet_weights.address import ImagePath, LocalFile, VolumePath
from fleet_weights.assemble import claim_path, image_path
from fleet_weights.checksums import digest
from fleet_weights.disk_errors import clear_errors
from fleet_weights.errors import WeightsError
from fleet_weights.hub import cache
from fleet_weights.hub.selection import WeightsFormat
from fleet_weights.plan import in_place, needs_none, plan
from fleet_weights.record import damage, is_intact
from fleet_weights.store import Store
from fleet_weights.transfer.progress import Progress, ProgressTracker
from fleet_weights.transfer.retry_policy import RETRY_POLICY, RetryPolicy


def locate(spec: ModelSpec, store: Store) -> Path:
    """The folder of complete weights, or the file that a `file://`, `pvc://` or `oci://` address
    names.

    For a handler without weights it is the root of the store. Uses no network. Raises WeightsError
    when the weights are not on disk.
    """
    if needs_none(spec):
        return store.root
    if (address := in_place(spec)) is not None:
        return _checked(spec, address)
    folder = store.folder(spec)
    if is_intact(folder):
        return folder
    if (cached := cache.find(spec, store.hub_caches)) is not None:
        return cached
    broken = damage(folder)
    raise WeightsError(
        f"The weights of {spec.model} in {folder} are damaged: {broken}."
        if broken is not None
        else f"The weights of {spec.model} are not in {store.root}.",
        f"Fetch them with `modelfleet pull {spec.model}`, or set AUTO_DOWNLOAD_MODELS=1.",
    )


def is_there(spec: ModelSpec, store: Store) -> bool:
    """Whether complete weights are on disk. Raises WeightsError for an invalid address."""
    if needs_none(spec) or in_place(spec) is not None:
        return True
    return is_intact(store.folder(spec)) or cache.find(spec, store.hub_caches) is not None


def fetch(
    spec: ModelSpec,
    store: Store,
    progress: Progress | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    stop: threading.Event | None = None,
    retry_policy: RetryPolicy = RETRY_POLICY,
    kind: WeightsFormat | None = None,
) -> Path:
    """Download missing weights; the path as from `locate`. Raises WeightsError.

    Partial downloads are kept after a failure and resumed the next time. `environ` (by default that
    of the process) has HF_TOKEN, HF_ENDPOINT, proxies and settings of pip. Setting `stop` ends the
    fetch with Stopped within about a second. `kind` is the format to take from a repository of the
    hub, by default the first in the order of `fleet_weights.hub.selection`.
    """
    if is_there(spec, store):
        return locate(spec, store)
    # Imported late: a server whose weights are on disk starts without an HTTP client.
    from fleet_weights.lock import locked
    from fleet_weights.staging import Staging

    tracker = ProgressTracker(progress, stop)
    settings = os.environ if environ is None else environ
    with clear_errors(spec, store), locked(spec, store, tracker):
        if not is_intact(store.folder(spec)):  # another process may have fetched them meanwhile
            shutil.rmtree(store.folder(spec), ignore_errors=True)  # damaged
            staging = Staging(spec, plan(spec), store, tracker, settings, retry_policy, kind)
            staging.download()
            staging.assemble()
            staging.publish()
    return locate(spec, store)


def _checked(spec: ModelSpec, address: LocalFile | VolumePath | ImagePath) -> Path:
    match address:
        case LocalFile():
            path = Path(address.path)
        case VolumePath():
            path = claim_path(address)
        case ImagePath():
            path = image_path(address)
    if not path.exists():
        hint = "Correct `source`."
        if isinstance(address, ImagePath):
            hint = "Correct the path in `source`: the image has no such file or folder."
        if isinstance(address, VolumePath):
            hint = "pvc:// addresses work only in pods, into which the operator mounts the claim."
        raise WeightsError(f"{spec.source} of {spec.model}: {path} does not exist.", hint)
    if spec.sha256 is not None:
        if not path.is_file():
            raise WeightsError(f"{spec.source} is a folder, and `sha256` is that of a file.")
        if (found := digest(path)) != spec.sha256:
            raise WeightsError(f"{path} has the sha256 {found}, not {spec.sha256}.")
    return path
