"""InferenceModel manifests: parsed from the YAML `kubectl apply` accepts, rendered from specs."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleet_contract.completion import Completed, complete
from fleet_contract.crd.rules import NAME_LENGTH
from fleet_contract.names import API_VERSION, KIND
from fleet_contract.settings import BY_NAME
from fleet_contract.spec import ModelSpec
from fleet_contract.yaml_text import dump_all, load_all

__all__ = [
    "Completed", "Manifest", "ManifestError", "complete", "load", "manifest", "object_name",
    "parse", "render",
    "without_secrets",
]  # fmt: skip

NAME_PATTERN = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
HASH_DIGITS = 6


class ManifestError(ValueError):
    """A manifest that cannot be used; the message names file, document and field."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """One InferenceModel as written; `spec` may be incomplete, `where` is for messages."""

    name: str
    namespace: str | None
    spec: dict[str, Any]
    where: str


def load(path: Path) -> list[Manifest]:
    """The manifests of a file of one or more documents. Raises ManifestError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path}: {error}") from error
    return parse(text, str(path))


def parse(text: str, name: str) -> list[Manifest]:
    """The manifests of a YAML text; error messages name `name`. Raises ManifestError.

    Empty documents are skipped and a `kind: List` is expanded, as with kubectl.
    """
    try:
        documents = load_all(text, name)
    except ValueError as error:
        raise ManifestError(str(error)) from error
    found: list[Manifest] = []
    for index, document in enumerate(documents, start=1):
        where = f"{name}, document {index}" if len(documents) > 1 else name
        found += [_manifest(each, at) for each, at in _items(document, where)]
    if not found:
        raise ManifestError(f"{name}: contains no {KIND}")
    _check_names(found)
    return found


def manifest(
    spec: ModelSpec, name: str | None = None, *, with_defaults: bool = False
) -> dict[str, Any]:
    """The InferenceModel of a spec; `with_defaults` includes fields at their default."""
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": name or object_name(spec.model)},
        "spec": _wire(spec, with_defaults),
    }


def without_secrets(spec: ModelSpec) -> ModelSpec:
    """`spec` without what may hold secrets or takes much room: `files`, `envFrom`, `podTemplate`
    and the variables of `env`, except for settings that override fields of the spec."""
    settings = {
        name: value
        for name, value in spec.plain_env.items()
        if name in BY_NAME and BY_NAME[name].field is not None
    }
    left_out: dict[str, Any] = {"files": [], "env_from": [], "pod_template": None}
    return spec.model_copy(update={**left_out, "env": settings})


def render(specs: Iterable[ModelSpec], *, with_defaults: bool = False) -> str:
    """Manifests of all specs as YAML, one document each."""
    return dump_all([manifest(spec, with_defaults=with_defaults) for spec in specs])


def object_name(model: str) -> str:
    """A resource name for a model id: `Qwen/Qwen3-4B-Instruct-2507` becomes
    `qwen-qwen3-4b-instruct-2507`.

    Lower-case letters, digits and '-', beginning with a letter (the Service has the same name:
    RFC 1035); a long one is truncated and ends in a hash of the id.
    """
    name = re.sub(r"[^a-z0-9]+", "-", model.lower()).strip("-")
    if not name or not name[0].isalpha():
        name = f"m-{name}".rstrip("-")
    if len(name) <= NAME_LENGTH:
        return name
    ending = hashlib.sha256(model.encode()).hexdigest()[:HASH_DIGITS]
    return f"{name[: NAME_LENGTH - HASH_DIGITS - 1].rstrip('-')}-{ending}"


def _items(document: Any, where: str) -> list[tuple[Any, str]]:
    if document is None:
        return []
    if isinstance(document, Mapping) and document.get("kind") == "List":
        items = document.get("items")
        if not isinstance(items, list):
            raise ManifestError(f"{where}: items: must be a list")
        return [(item, f"{where}, item {index}") for index, item in enumerate(items, start=1)]
    return [(document, where)]


def _manifest(document: Any, where: str) -> Manifest:
    if not isinstance(document, Mapping):
        raise ManifestError(f"{where}: must be an {KIND}, not {type(document).__name__}")
    if document.get("kind") != KIND:
        raise ManifestError(f"{where}: kind: is {document.get('kind')!r}, must be {KIND}")
    if document.get("apiVersion") != API_VERSION:
        raise ManifestError(
            f"{where}: apiVersion: is {document.get('apiVersion')!r}, must be {API_VERSION}"
        )
    metadata, spec = document.get("metadata"), document.get("spec")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    if not isinstance(name, str):
        raise ManifestError(f"{where}: metadata.name: is missing")
    if not NAME_PATTERN.fullmatch(name) or len(name) > NAME_LENGTH:
        raise ManifestError(
            f"{where}: metadata.name: {name!r} must be lower-case letters, digits and '-', begin "
            f"with a letter and have at most {NAME_LENGTH} characters"
        )
    if not isinstance(spec, Mapping):
        raise ManifestError(f"{where} ({name}): spec: is missing")
    namespace = metadata.get("namespace") if isinstance(metadata, Mapping) else None
    return Manifest(
        name, namespace if isinstance(namespace, str) else None, dict(spec), f"{where} ({name})"
    )


def _check_names(found: list[Manifest]) -> None:
    seen: dict[tuple[str | None, str], str] = {}
    for each in found:
        key = (each.namespace, each.name)
        if key in seen:
            raise ManifestError(
                f"{each.where}: metadata.name: {each.name!r} is already used by {seen[key]}"
            )
        seen[key] = each.where


def _wire(spec: ModelSpec, with_defaults: bool) -> dict[str, Any]:
    """Wire form with `model`, `task` and `engine` first, defaults or not."""
    wire = spec.to_wire()
    if with_defaults:
        wire = spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    first = {"model": spec.model, "task": spec.task.value, "engine": spec.engine.value}
    return {**first, **{key: value for key, value in wire.items() if key not in first}}
