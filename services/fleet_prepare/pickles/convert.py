"""Converts a repository of pickled checkpoints: safetensors with its configuration and tokenizer.

The result replaces a download: it is published under the name of the model's weights in the store.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from fnmatch import fnmatch
from functools import cache, partial
from pathlib import Path

from fleet_contract.spec import ModelSpec
from fleet_prepare.pickles import unpickle
from fleet_prepare.pickles.environment import throwaway
from fleet_prepare.safetensors_file import open_tensors
from fleet_prepare.stage import PrepareStage, Report, unreported
from fleet_weights import record
from fleet_weights.address import Hub, parse
from fleet_weights.allowed import is_allowed
from fleet_weights.disk_errors import clear_errors
from fleet_weights.errors import WeightsError
from fleet_weights.fetch import is_there, locate
from fleet_weights.hub import repository
from fleet_weights.lock import locked
from fleet_weights.staging import publish
from fleet_weights.store import Store
from fleet_weights.transfer.download import Downloader
from fleet_weights.transfer.progress import Progress, ProgressTracker

DESCRIPTIONS = ("*.json", "*.txt", "*.jinja", "*.model", "*/*.json")
WANTED = ("pytorch_model*.bin", *DESCRIPTIONS)
SPARE_BYTES = 8 << 30
"""Memory beyond twice the checkpoint's size; torch alone reserves some."""
CPU_SECONDS = 3600
PASSED_ON = ("PATH", "LANG", "LC_ALL", "TMPDIR")
ISOLATED = ("unshare", "--map-root-user", "--net")
Environment = Callable[[Mapping[str, str]], AbstractContextManager[Path]]


def convert_folder(
    source: Path, target: Path, environ: Mapping[str, str], environment: Environment = throwaway
) -> Path:
    """Convert the checkpoint in `source` into the new folder `target`, which appears complete.

    Raises WeightsError.
    """
    if target.exists():
        raise WeightsError(f"{target} exists already.", "Remove it or name another folder.")
    _check_source(source)
    staging = target.with_name(f".{target.name}.staging")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        with environment(environ) as python:
            _unpickle(python, source, staging)
        _copy_descriptions(source, staging)
        publish(staging, target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return target


def convert_model(
    spec: ModelSpec,
    store: Store,
    environ: Mapping[str, str],
    environment: Environment = throwaway,
    report: Report = unreported,
) -> Path:
    """Download a model's pickles from the hub and store safetensors in their place.

    `report` gets the bytes of the download, and the beginning of the conversion. Raises
    WeightsError.
    """
    if is_there(spec, store):
        return locate(spec, store)
    address = parse(spec.source) if spec.source is not None else None
    if not isinstance(address, Hub) or address.path:
        raise WeightsError(
            f"The source of {spec.model} is {spec.source}, not a repository of the hub.",
            "Name the folder of a downloaded copy instead.",
        )
    final, staging = store.folder(spec), store.staging(spec, ".pickles")
    with clear_errors(spec, store), locked(spec, store, ProgressTracker(None, None)):
        if record.is_intact(final):  # converted by another process meanwhile
            return final
        shutil.rmtree(final, ignore_errors=True)  # damaged
        shutil.rmtree(staging, ignore_errors=True)
        source, made = staging / "source", staging / "made"
        made.mkdir(parents=True)
        try:
            _download(address, source, environ, partial(report, PrepareStage.FETCHING))
            _check_source(source)
            report(PrepareStage.CONVERTING, 0, None)
            with environment(environ) as python:
                _unpickle(python, source, made)
            _copy_descriptions(source, made)
            about = {"model": spec.model, "source": spec.source, "converted_from": "pickles"}
            record.write(made, about, record.measure(made))
            publish(made, final)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return final


def _check_source(source: Path) -> None:
    if not any((source / name).is_file() for name in (unpickle.WHOLE, unpickle.INDEX)):
        raise WeightsError(f"{source} holds neither {unpickle.WHOLE} nor {unpickle.INDEX}.")


def _download(address: Hub, target: Path, environ: Mapping[str, str], progress: Progress) -> None:
    """Fetch checkpoints and descriptions, checked against the hub's checksums."""
    parts = target.with_name("parts")
    parts.mkdir()
    tracker = ProgressTracker(progress, None)
    with Downloader(environ, tracker) as downloader:
        listing = downloader.json(repository.listing_url(address, downloader))
        commit, entries = repository.read(listing, address)
        for entry in entries.values():
            if not _is_wanted(entry.path):
                continue
            part = repository.file_part(entry, address, commit, downloader)
            fetched = downloader.get(part, parts)
            (target / entry.path).parent.mkdir(parents=True, exist_ok=True)
            fetched.rename(target / entry.path)


def _is_wanted(path: str) -> bool:
    # A `*` of fnmatch matches slashes too.
    return any(fnmatch(path, each) and path.count("/") == each.count("/") for each in WANTED)


def _unpickle(python: Path, source: Path, target: Path) -> None:
    """Run `unpickle` without a network where the system allows it, and check what it wrote."""
    size = sum(path.stat().st_size for path in source.glob("*.bin"))
    done = subprocess.run(  # noqa: S603  (our own arguments, no shell)
        [*_isolation(), str(python), "-I", unpickle.__file__, str(source.resolve()),
         str(target.resolve()), str(2 * size + SPARE_BYTES), str(CPU_SECONDS)],
        env={name: os.environ[name] for name in PASSED_ON if name in os.environ},
        cwd=target, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        start_new_session=True, check=False,
    )  # fmt: skip
    try:
        outcome = json.loads(done.stdout)
    except ValueError:
        lines = done.stderr.strip().splitlines() or ["no output"]
        raise WeightsError(
            f"The sandboxed conversion ended with status {done.returncode}: {lines[-1]}"
        ) from None
    if "error" in outcome:
        raise WeightsError(f"{source} was not converted: {outcome['error']}")
    with open_tensors(target):
        pass  # raises where a file is not whole


def _copy_descriptions(source: Path, target: Path) -> None:
    """Configuration and tokenizer; no weights and no code."""
    for pattern in DESCRIPTIONS:
        for path in source.glob(pattern):
            name = path.relative_to(source)
            if name.name == unpickle.INDEX or not path.is_file() or not is_allowed(str(name)):
                continue
            (target / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(path, target / name)


@cache
def _isolation() -> tuple[str, ...]:
    """The command that takes the network away, empty where the system has none that works."""
    try:
        done = subprocess.run(  # noqa: S603  (our own arguments, no shell)
            [*ISOLATED, "true"], capture_output=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return ISOLATED if done.returncode == 0 else ()
