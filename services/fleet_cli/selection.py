"""Model arguments of commands: ids, aliases and files of manifests, with usage errors."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from fleet_contract import catalog, manifests
from fleet_contract.spec import ModelSpec

USAGE_STATUS = 2


def chosen(
    names: Sequence[str], environ: Mapping[str, str], catalog_file: Path | None = None
) -> list[ModelSpec]:
    """Specs of `names`, else of MODELS, else of the demo. Raises ValueError."""
    listed = [name for given in names for name in split(given)]
    known = known_models(catalog_file)
    return catalog.resolve(listed or split(environ.get("MODELS", "")) or catalog.DEMO, known)


def from_file(path: Path, catalog_file: Path | None = None) -> list[tuple[str, ModelSpec]]:
    """Names and specs of a file of manifests, completed from the catalog. Raises ValueError."""
    known = known_models(catalog_file)
    found: list[tuple[str, ModelSpec]] = []
    for manifest in manifests.load(path):
        try:
            found.append((manifest.name, manifests.complete(manifest.spec, known).spec))
        except ValueError as error:
            raise ValueError(f"{manifest.where}: spec.{error}") from error
    return found


def known_models(catalog_file: Path | None = None) -> dict[str, ModelSpec]:
    """The catalog with the entries of `catalog_file`, else of CATALOG. Raises CatalogError."""
    return catalog.load(catalog_file or _named_catalog())


def split(text: str) -> list[str]:
    """The names of a comma-separated list."""
    return [name.strip() for name in text.split(",") if name.strip()]


def environment() -> dict[str, str]:
    """The environment variables, after adding those of `.env` in the working directory.

    They are set in this process, so that proxies and certificates apply to its requests; variables
    that are set already take precedence.
    """
    from dotenv import load_dotenv

    load_dotenv(".env", override=False)
    return dict(os.environ)


def _named_catalog() -> Path | None:
    """The file of the variable CATALOG."""
    named = environment().get("CATALOG", "").strip()
    return Path(named) if named else None


@contextmanager
def usage_errors(command: str) -> Iterator[None]:
    """Turn ValueError and OSError into a message and exit status 2."""
    try:
        yield
    except (ValueError, OSError) as error:
        print(f"modelfleet {command}: {error}", file=sys.stderr)
        sys.exit(USAGE_STATUS)
