"""`modelfleet embed MODEL TEXT...`: vectors as JSON lines, or the similarity of the texts."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleet_cli.client.options import KEY_ENV, LOCAL, TIMEOUT_SECONDS, BaseUrl, KeyEnv, Timeout
from fleet_cli.client.output import errors, tolerant_streams
from fleet_cli.client.vectors import Vector, similarities, vectors
from fleet_contract.safe_text import printable

if TYPE_CHECKING:
    from fleet_cli.client.server import Server

INPUTS = 32
"""Texts of a request."""
MAX_COMPARED = 100
LABEL_CHARACTERS = 30

app = typer.Typer(add_completion=False)


@app.command()
def embed(
    model: Annotated[str, typer.Argument(help="Id or alias of the model.")],
    texts: Annotated[list[str], typer.Argument(help="Texts, or - for the lines of the input.")],
    compare: Annotated[
        bool, typer.Option("--compare", help="Print the cosine similarity of each pair instead.")
    ] = False,
    dimensions: Annotated[
        int | None, typer.Option(min=1, help="Size of the vectors, where the model allows it.")
    ] = None,
    base_url: BaseUrl = LOCAL,
    api_key_env: KeyEnv = KEY_ENV,
    timeout: Timeout = TIMEOUT_SECONDS,
) -> None:
    """Print a JSON object with `text` and `embedding` for each text, in their order."""
    from fleet_cli.client.server import Server

    tolerant_streams()
    given: Iterable[str] = lines() if texts == ["-"] else texts
    with errors("embed"), Server(base_url, api_key_env, timeout) as server:
        if compare:
            show(*_all(server, model, given, dimensions))
            return
        for batch in batches(given):
            for text, vector in zip(batch, _embed(server, model, batch, dimensions), strict=True):
                print(json.dumps({"text": text, "embedding": vector}), flush=True)


def lines() -> Iterator[str]:
    """The lines of standard input that are not blank."""
    for line in sys.stdin:
        if text := line.strip():
            yield text


def batches(texts: Iterable[str]) -> Iterator[list[str]]:
    """Lists of at most INPUTS texts."""
    rest = iter(texts)
    while batch := list(islice(rest, INPUTS)):
        yield batch


def show(texts: Sequence[str], found: Sequence[Vector]) -> None:
    """Print the similarities as a table; as cells between tabs where the output is no terminal."""
    rows = [[f"{number:.3f}" for number in row] for row in similarities(found)]
    labels = [printable(text) for text in texts]
    if not sys.stdout.isatty():
        for label, row in zip(labels, rows, strict=True):
            print("\t".join([label, *row]))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("text", overflow="ellipsis", max_width=LABEL_CHARACTERS, no_wrap=True)
    for number in range(1, len(rows) + 1):
        table.add_column(str(number), justify="right", no_wrap=True)
    for number, (label, row) in enumerate(zip(labels, rows, strict=True), 1):
        table.add_row(Text(f"{number} {label}"), *row)
    Console().print(table)


def _all(
    server: Server, model: str, given: Iterable[str], dimensions: int | None
) -> tuple[list[str], list[Vector]]:
    """The texts and their vectors. Raises ValueError if there are too few or too many."""
    texts = list(islice(given, MAX_COMPARED + 1))
    if not 2 <= len(texts) <= MAX_COMPARED:
        raise ValueError(f"--compare takes 2 to {MAX_COMPARED} texts")
    found = [
        vector for batch in batches(texts) for vector in _embed(server, model, batch, dimensions)
    ]
    return texts, found


def _embed(
    server: Server, model: str, batch: Sequence[str], dimensions: int | None
) -> list[Vector]:
    body: dict[str, Any] = {"model": model, "input": list(batch), "encoding_format": "float"}
    if dimensions is not None:
        body["dimensions"] = dimensions
    return vectors(server.post_json("/embeddings", body), len(batch))
