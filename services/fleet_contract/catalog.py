"""The catalog: specs of known models by id, built in and from a file of the user.

The built-in one is configs/catalog.yaml, included as package data. Entries of another file are
added to it and take precedence; with `replace: true` that file is the whole catalog.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fleet_contract.spec import DEVICE_PATTERN, DEVICES, ModelSpec
from fleet_contract.yaml_text import load_all

DEMO: tuple[str, ...] = (
    "HuggingFaceTB/SmolLM2-135M-Instruct",
    "sentence-transformers/all-MiniLM-L6-v2",
    "openai/whisper-base",
)
"""The models served by default: chat, embeddings, speech."""

KEYS = ("models", "replace")
Catalog = Mapping[str, ModelSpec]


class CatalogError(ValueError):
    """A catalog that cannot be read; the message names file and key."""


class UnknownModel(ValueError):
    """An id that is not in the catalog."""


def load(path: Path | None = None) -> dict[str, ModelSpec]:
    """Entries by id, in order: the built-in ones, then those of the file at `path`.

    Raises CatalogError.
    """
    if path is None:
        return parse(_read(files("fleet_contract").joinpath("catalog.yaml"), "catalog.yaml"))
    name = str(path)
    document = _document(_read(path, name), name)
    own = _entries(document, name)
    return own if document.get("replace") else overlaid(load(), own)


def overlaid(built_in: Catalog, own: Catalog) -> dict[str, ModelSpec]:
    """Both catalogs in one; an id or alias in `own` is removed from the built-in entries."""
    taken = {identifier for spec in own.values() for identifier in spec.ids}
    kept = {
        model: spec.model_copy(
            update={"aliases": [alias for alias in spec.aliases if alias not in taken]}
        )
        for model, spec in built_in.items()
        if model not in taken
    }
    return {**kept, **own}


def parse(text: str, name: str = "catalog.yaml") -> dict[str, ModelSpec]:
    """Entries of a catalog's YAML text; error messages begin with `name`. Raises CatalogError."""
    return _entries(_document(text, name), name)


def _read(source: Path | Traversable, name: str) -> str:
    try:
        return source.read_text(encoding="utf-8")
    except OSError as error:
        reason = error.strerror or error
        raise CatalogError(f"The catalog {name} cannot be read: {reason}.") from error
    except UnicodeDecodeError as error:
        raise CatalogError(f"{name}: {error}") from error


def _document(text: str, name: str) -> dict[str, Any]:
    try:
        documents = load_all(text, name)
    except ValueError as error:
        raise CatalogError(str(error)) from error
    document = documents[0] if len(documents) == 1 else None
    if not isinstance(document, dict) or not isinstance(document.get("models"), list):
        raise CatalogError(f"{name}: must be a mapping with a list under `models`")
    if extra := [key for key in document if key not in KEYS]:
        raise CatalogError(f"{name}: unknown key {extra[0]!r}; known are {' and '.join(KEYS)}")
    if not isinstance(document.get("replace", False), bool):
        raise CatalogError(f"{name}: replace: must be true or false")
    return document


def _entries(document: Mapping[str, Any], name: str) -> dict[str, ModelSpec]:
    entries: dict[str, ModelSpec] = {}
    taken: dict[str, str] = {}
    for index, raw in enumerate(document["models"]):
        spec = _entry(raw, f"{name}: models[{index}]")
        for identifier in spec.ids:
            if identifier in taken:
                raise CatalogError(
                    f"{name}: models[{index}] ({spec.model}): {identifier!r} already names "
                    f"{taken[identifier]}"
                )
            taken[identifier] = spec.model
        entries[spec.model] = spec
    return entries


def resolve(names: Iterable[str], catalog: Catalog) -> list[ModelSpec]:
    """The entries of ids or aliases, in order and without duplicates. Raises UnknownModel."""
    by_name = {identifier: spec for spec in catalog.values() for identifier in spec.ids}
    found: dict[str, ModelSpec] = {}
    for name in names:
        spec = by_name.get(name)
        if spec is None:
            raise UnknownModel(_unknown(name, by_name))
        found[spec.model] = spec
    return list(found.values())


def find(name: str, catalog: Catalog) -> ModelSpec | None:
    """The entry of an id or alias, or None."""
    if name in catalog:
        return catalog[name]
    return next((spec for spec in catalog.values() if name in spec.aliases), None)


def _entry(raw: Any, where: str) -> ModelSpec:
    if not isinstance(raw, dict):
        raise CatalogError(f"{where}: must be a mapping, not {type(raw).__name__}")
    if isinstance(raw.get("model"), str):
        where = f"{where} ({raw['model']})"
    try:
        return ModelSpec.model_validate(raw)
    except ValidationError as error:
        raise CatalogError(f"{where}: {first_problem(error)}") from error


def first_problem(error: ValidationError) -> str:
    """`key: message` of the first error; of one between fields the message alone."""
    problem = error.errors(include_url=False, include_input=False)[0]
    key = ".".join(str(part) for part in problem["loc"])
    text = str(problem["msg"]).removeprefix("Value error, ")
    if problem.get("ctx", {}).get("pattern") == DEVICE_PATTERN:
        text = f"must be {DEVICES}"
    return f"{key}: {text}" if key else text


def _unknown(name: str, by_name: Mapping[str, ModelSpec]) -> str:
    lowered = {identifier.lower(): identifier for identifier in by_name}
    tails = {identifier.rpartition("/")[2]: identifier for identifier in lowered}
    wanted = name.lower()
    close = [tail for tail in tails if wanted and wanted in tail][:3]
    close = close or get_close_matches(wanted, [*lowered, *tails], n=3, cutoff=0.6)
    likely = dict.fromkeys(lowered[tails.get(match, match)] for match in close)
    hint = f"did you mean {' or '.join(likely)}?" if likely else "see `modelfleet catalog`."
    return f"{name!r} is not in the catalog; {hint}"
