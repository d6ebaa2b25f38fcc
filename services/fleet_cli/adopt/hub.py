"""Models in a cache of huggingface_hub; those of the catalog become manifests of their id alone.

Layout: huggingface.co/docs/huggingface_hub/guides/manage-cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fleet_cli.adopt.found import ENCODERS, Found, Report
from fleet_contract.catalog import Catalog
from fleet_contract.spec import Task
from fleet_prepare import model_files
from fleet_prepare.model_files import ModelFiles

PREFIX = "models--"


def read(folder: Path, known: Catalog) -> Report:
    """The models of a cache such as `~/.cache/huggingface/hub`. Raises ValueError if there are
    none."""
    ids = {name: spec.model for spec in known.values() for name in spec.ids}
    report = Report()
    repositories = sorted(folder.glob(f"{PREFIX}*"))
    if not repositories:
        raise ValueError(f"{folder} has no folder `{PREFIX}...`: it is no cache of the hub")
    for repository in repositories:
        name = repository.name.removeprefix(PREFIX).replace("--", "/")
        if name in ids:
            report.found.append(Found({"model": ids[name]}))
            continue
        snapshots = [path for path in (repository / "snapshots").glob("*") if path.is_dir()]
        if not snapshots:
            report.left_out.append(f"{name}: it has no complete snapshot")
            continue
        newest = max(snapshots, key=lambda path: path.stat().st_mtime)
        files = model_files.from_folder(newest)
        task = task_of(files)
        if task is None:
            report.left_out.append(f"{name}: its files do not show what it does")
        else:
            source = f"hf://{name}@{newest.name}"
            report.found.append(Found({"model": name, "task": task.value, "source": source}))
    return report


def task_of(files: ModelFiles) -> Task | None:
    """The task that config.json and the names of the files show."""
    if files.modules:
        return Task.EMBEDDING
    if files.gguf is not None:
        return Task.EMBEDDING if files.gguf in ENCODERS else Task.CHAT
    return _by_architecture(files.config)


def _by_architecture(config: Mapping[str, Any]) -> Task | None:
    listed = config.get("architectures")
    name = str(listed[0]) if isinstance(listed, list) and listed else ""
    if "Whisper" in name:
        return Task.SPEECH
    if name.endswith(("ForCausalLM", "ForConditionalGeneration")):
        return Task.CHAT
    labels = config.get("id2label")
    if name.endswith("ForSequenceClassification"):
        return Task.RERANK if isinstance(labels, Mapping) and len(labels) == 1 else None
    return Task.EMBEDDING if name.endswith(("Model", "ForMaskedLM")) else None
