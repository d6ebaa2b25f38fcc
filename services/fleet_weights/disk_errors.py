"""Errors of the file system as WeightsError with folder and hint."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from fleet_contract.spec import ModelSpec
from fleet_weights.errors import WeightsError
from fleet_weights.store import Store


@contextmanager
def clear_errors(
    spec: ModelSpec, store: Store, doing: str = "fetching", goes_on: str = "the download is resumed"
) -> Iterator[None]:
    """Raise WeightsError for an OSError; `doing` and `goes_on` complete the message."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            free = shutil.disk_usage(store.root).free if store.root.exists() else 0
            raise WeightsError(
                f"The disk is full ({free / 1e9:.1f} GB free in {store.root}) while {doing} "
                f"{spec.model}.",
                f"Free some space or set MODELS_DIR to a larger disk; {goes_on} then.",
            ) from error
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise WeightsError(
                f"{store.root} cannot be written to ({error.strerror}) while {doing} {spec.model}.",
                "Set MODELS_DIR to a writable folder, or put complete weights there beforehand "
                "(`modelfleet pull`, or `modelfleet server --prepare`).",
            ) from error
        raise WeightsError(f"{doing.capitalize()} {spec.model} failed: {error}.") from error
