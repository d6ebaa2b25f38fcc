"""Converts weights into the store once, under a lock, and publishes them by one rename.

    <root>/<org>--<name>-<fingerprint>[-<state>].<format>-<quantization>-v<version>/

`state` is six hex digits of the names, sizes and times of the source's files; it is left out where
the source is a folder of the store, which never changes.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from fleet_contract.spec import ModelSpec
from fleet_prepare import child_process
from fleet_prepare.converters import BYTES_PER_WEIGHT, ConversionPlan
from fleet_prepare.model_files import ModelFiles
from fleet_weights import record
from fleet_weights.allowed import is_allowed
from fleet_weights.disk_errors import clear_errors
from fleet_weights.errors import WeightsError
from fleet_weights.eviction import make_room
from fleet_weights.lock import locked
from fleet_weights.record import is_intact
from fleet_weights.staging import publish
from fleet_weights.store import Store
from fleet_weights.transfer.progress import Progress, ProgressTracker

SPARE_BYTES = 16 << 20
"""For tokenizers and configuration."""
STATE_DIGITS = 6
_one_at_a_time = threading.Lock()
"""Within a process; two concurrent conversions need twice the memory and are no faster."""


def converted_folder(
    spec: ModelSpec, plan: ConversionPlan, source: Path, files: ModelFiles, store: Store
) -> Path:
    """Path of the converted weights, whether or not they exist."""
    return store.folder(spec, _suffix(spec, plan, source, files, store))


def convert_once(
    spec: ModelSpec,
    plan: ConversionPlan,
    source: Path,
    files: ModelFiles,
    store: Store,
    progress: Progress | None,
    *,
    environ: Mapping[str, str],
    stop: threading.Event | None = None,
) -> Path:
    """Path of the converted weights; converts them if they are missing. `source` is only read.

    Raises WeightsError, and Stopped within a second of `stop` being set. A conversion that fails or
    is stopped leaves nothing behind.
    """
    suffix = _suffix(spec, plan, source, files, store)
    final, staging = store.folder(spec, suffix), store.staging(spec, suffix)
    if is_intact(final):
        return final
    tracker = ProgressTracker(progress, stop)
    with (
        clear_errors(spec, store, "converting", "the conversion begins again"),
        locked(spec, store, tracker, suffix),
        _one_conversion(tracker),
    ):
        if is_intact(final):  # converted by another process meanwhile
            return final
        shutil.rmtree(final, ignore_errors=True)  # damaged
        shutil.rmtree(staging, ignore_errors=True)
        try:
            staging.mkdir(parents=True)
            _check_space(spec, plan, source, staging, store)
            child_process.run(
                spec.model, plan, source, staging, environ,
                lambda done, total: tracker.update("conversion", done, total), tracker.check,
            )  # fmt: skip
            _write_record(spec, plan, source, staging)
            publish(staging, final)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return final


def _suffix(
    spec: ModelSpec, plan: ConversionPlan, source: Path, files: ModelFiles, store: Store
) -> str:
    if source == store.folder(spec):
        return plan.suffix
    read = sorted(name for name in files.names if is_allowed(name, files.names))
    stats = [(name, (source / name).stat()) for name in read]
    state = json.dumps([(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats])
    return f"-{hashlib.sha256(state.encode()).hexdigest()[:STATE_DIGITS]}{plan.suffix}"


@contextmanager
def _one_conversion(tracker: ProgressTracker) -> Iterator[None]:
    while not _one_at_a_time.acquire(timeout=child_process.POLL_SECONDS):
        tracker.check()
    try:
        yield
    finally:
        _one_at_a_time.release()


def _check_space(
    spec: ModelSpec, plan: ConversionPlan, source: Path, staging: Path, store: Store
) -> None:
    """Raises WeightsError if the converted weights would not fit, by an estimate."""
    from fleet_prepare.safetensors_file import open_tensors

    try:
        with open_tensors(source) as tensors:
            weights = tensors.elements
    except WeightsError:
        return  # the conversion itself reports what is wrong with the files
    needed = weights * BYTES_PER_WEIGHT.get(plan.quantization, 4.0) + SPARE_BYTES
    make_room(store, int(needed), spec)
    free = shutil.disk_usage(staging).free
    if needed > free:
        raise WeightsError(
            f"{spec.model} takes about {needed / 1e9:.1f} GB more once converted to "
            f"{plan.quantization}, and {free / 1e9:.1f} GB are free in {staging.parent.parent}.",
            "Free some space or set MODELS_DIR to a larger disk.",
        )


def _write_record(spec: ModelSpec, plan: ConversionPlan, source: Path, folder: Path) -> None:
    about = {
        "model": spec.model, "source": spec.source, "converted_from": source.name,
        "converter": plan.module, "format": plan.format, "quantization": plan.quantization,
        "version": plan.version,
    }  # fmt: skip
    record.write(folder, about, record.measure(folder))
