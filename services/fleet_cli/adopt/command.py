"""`modelfleet adopt`: writes manifests of what Ollama, the hub's cache or llama-swap hold here."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from fleet_cli.adopt.found import Found, Report
from fleet_cli.selection import known_models, usage_errors
from fleet_contract.safe_text import printable

app = typer.Typer(add_completion=False)


class Tool(StrEnum):
    """Where the models come from."""

    OLLAMA = "ollama"
    HUB = "hub"
    LLAMA_SWAP = "llama-swap"


@app.command()
def adopt(
    tool: Annotated[Tool, typer.Argument(help="Where the models are.")],
    place: Annotated[
        Path | None,
        typer.Argument(help="Folder of Ollama or the hub's cache; config.yaml of llama-swap."),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File to write; it must not exist.")
    ] = Path("adopted.yaml"),
) -> None:
    """Write InferenceModel manifests for another tool's models, for `modelfleet up -f`.

    Weights are used where they are: nothing is copied. Files whose names do not show their format
    are linked in a folder next to the manifests.
    """
    with usage_errors("adopt"):
        report = checked(read(tool, place))
        for line in report.left_out:
            print(f"left out {printable(line)}", file=sys.stderr)
        if not report.found:
            raise ValueError("there is no model to adopt")
        write(report.found, output)
    number = len(report.found)
    print(
        f"{number} {'model' if number == 1 else 'models'} in {output}: start with"
        f" `modelfleet up -f {output}`"
    )


def read(tool: Tool, place: Path | None) -> Report:
    """What the tool holds. Raises ValueError and OSError."""
    from fleet_cli.adopt import hub, llama_swap, ollama
    from fleet_weights.hub import cache

    if tool is Tool.OLLAMA:
        named = os.environ.get("OLLAMA_MODELS")
        return ollama.read(place or Path(named or Path.home() / ".ollama/models"))
    if tool is Tool.HUB:
        return hub.read(place or cache.folders(os.environ)[0], known_models())
    return llama_swap.read(place or Path("config.yaml"))


def checked(report: Report) -> Report:
    """`report` without models that no manifest can describe, which are left out with the reason."""
    from pydantic import ValidationError

    from fleet_contract.catalog import first_problem
    from fleet_contract.manifests import object_name
    from fleet_contract.spec import ModelSpec

    kept = Report(left_out=list(report.left_out))
    names: dict[str, str] = {}
    for one in report.found:
        model = str(one.spec["model"])
        try:
            ModelSpec.model_validate(dict(one.spec))
        except ValidationError as error:
            kept.left_out.append(f"{model}: {first_problem(error)}")
            continue
        if (other := names.get(object_name(model))) is not None:
            kept.left_out.append(f"{model}: its manifest would have the name of that of {other}")
        else:
            names[object_name(model)] = model
            kept.found.append(one)
    return kept


def write(found: Sequence[Found], output: Path) -> None:
    """Write the manifests and link files. Raises OSError, and FileExistsError before anything is
    written."""
    from fleet_contract.manifests import manifest, object_name
    from fleet_contract.spec import ModelSpec
    from fleet_contract.yaml_text import dump_all

    documents: list[dict[str, Any]] = []
    links: dict[Path, Path] = {}
    for one in found:
        spec = dict(one.spec)
        if one.links:
            folder = output.resolve().parent / output.stem / object_name(spec["model"])
            links |= {folder / name: target.resolve() for name, target in one.links.items()}
            spec["source"] = folder.as_uri()
        documents.append(manifest(ModelSpec.model_validate(spec)))
    # Another file is not ours to replace; a link may be that of manifests that were deleted.
    for path in (output, *(link for link in links if not link.is_symlink())):
        if path.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    for link, target in links.items():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(target)
    with output.open("x", encoding="utf-8") as file:
        file.write(dump_all(documents))
