"""`modelfleet status`: the models behind a router, as a table, lines or JSON."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from fleet_cli.client.options import KEY_ENV, LOCAL, BaseUrl, KeyEnv
from fleet_cli.client.output import complain, errors, new_table
from fleet_cli.cluster.options import (
    AllNamespaces,
    Cluster,
    Context,
    Kubeconfig,
    Namespace,
    Place,
    place_of,
)
from fleet_cli.status_rows import COLUMNS, Counters, Row, counters, rows
from fleet_contract.names import PATH_LOAD, PATH_METRICS

if TYPE_CHECKING:
    import httpx

app = typer.Typer(add_completion=False)

Read = Callable[["tuple[float, Counters] | None"], tuple[list[Row], Counters]]
"""Reads the rows; with the counters of the last reading and their time, also the rates."""

TIMEOUT_SECONDS = 10.0
WATCH_SECONDS = 2.0


class Output(StrEnum):
    """`table` prints lines of cells separated by tabs where the output is no terminal."""

    TABLE = "table"
    JSON = "json"


@app.command()
def status(
    base_url: BaseUrl = LOCAL,
    api_key_env: KeyEnv = KEY_ENV,
    output: Annotated[Output, typer.Option("--output", "-o", help="Format.")] = Output.TABLE,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Repeat every 2 seconds, with tokens per second.")
    ] = False,
    cluster: Cluster = False,
    namespace: Namespace = None,
    all_namespaces: AllNamespaces = False,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Show state, requests in flight, held requests, memory and reason of each model.

    Of a router at --base-url, or with --cluster, -n, -A, --context or --kubeconfig of the
    InferenceModels of a cluster.
    """
    place = place_of(cluster, namespace, context, kubeconfig, all_namespaces=all_namespaces)
    if place is not None:
        with errors("status"), suppress(KeyboardInterrupt):
            show_cluster(place, output, watch=watch)
        return
    with connected("status", base_url, api_key_env) as read_rows:
        times = None if watch else 1
        for number, found in enumerate(updates(read_rows, WATCH_SECONDS, times, warn("status"))):
            show(found, output, again=number > 0)


def show_cluster(place: Place, output: Output, *, watch: bool) -> None:
    """Print the models of a cluster. Raises ValueError with the reason of a failure."""
    from fleet_cli.cluster.rows import FIELDS
    from fleet_cli.cluster.session import Session, run
    from fleet_cli.cluster.status import Before
    from fleet_cli.cluster.status import read as read_cluster
    from fleet_kube.errors import KubeError

    async def work(session: Session) -> None:
        before: Before | None = None
        failed = warn("status")
        while True:
            try:
                found, now, problem = await read_cluster(session, before)
            except KubeError as error:
                if before is None:
                    raise
                failed(f"cluster: {error}")
                await asyncio.sleep(WATCH_SECONDS)
                continue
            if problem:
                failed(f"some figures are unknown: {problem}")
            show(found, output, again=before is not None, columns=FIELDS)
            if not watch:
                return
            before = now
            await asyncio.sleep(WATCH_SECONDS)

    run(place, work)


def warn(command: str) -> Callable[[str], None]:
    """Prints each reason to standard error, the same one in a row once."""
    last = ""

    def failed(reason: str) -> None:
        nonlocal last
        if reason != last:
            last = reason
            complain(command, ValueError(reason))

    return failed


def updates(
    read: Read, seconds: float, times: int | None, failed: Callable[[str], None]
) -> Iterator[list[Row]]:
    """Rows every `seconds`, `times` in all or without end: then `failed` gets the reason of a
    reading that fails after the first one, which is repeated.

    Raises httpx.HTTPError and ValueError.
    """
    import httpx

    before: tuple[float, Counters] | None = None
    number = 0
    while times is None or number < times:
        if number:
            time.sleep(seconds)
        number += 1
        try:
            found, now = read(before)
        except (httpx.HTTPError, ValueError) as error:
            if before is None or times is not None:
                raise
            failed(reason_of(error))
            continue
        before = (time.monotonic(), now)
        yield found


@contextmanager
def connected(command: str, base_url: str, api_key_env: str) -> Iterator[Read]:
    """`read` of a router; an error or Ctrl-C ends the block, an error with a message and status
    1."""
    import httpx

    key = os.environ.get(api_key_env, "")
    headers = {"authorization": f"Bearer {key}"} if key else {}
    try:
        with httpx.Client(
            base_url=base_url.rstrip("/").removesuffix("/v1"),
            headers=headers,
            timeout=TIMEOUT_SECONDS,
        ) as client:
            yield partial(read, client)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        reason = reason_of(error)
        if isinstance(error, httpx.HTTPStatusError) and error.response.status_code in (401, 403):
            reason += f"; set an API key in the variable {api_key_env}"
        typer.echo(f"modelfleet {command}: {base_url}: {reason}", err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        return


def reason_of(error: Exception) -> str:
    """Why a router could not be read."""
    import httpx

    if isinstance(error, httpx.HTTPStatusError):
        return f"{error.request.url.path} responded with {error.response.status_code}"
    return str(error) or type(error).__name__


def read(client: httpx.Client, before: tuple[float, Counters] | None) -> tuple[list[Row], Counters]:
    """The rows, and the counters from which those of the next call have a rate.

    Raises httpx.HTTPError, and ValueError for a response of another kind of server.
    """
    listed = client.get("/v1/models").raise_for_status().json()
    load = client.get(PATH_LOAD)
    metrics = client.get(PATH_METRICS)
    # Only keys with `metrics: true` may read these two.
    loads = load.json() if load.is_success else None
    now = counters(metrics.text) if metrics.is_success else Counters()
    elapsed = time.monotonic() - before[0] if before is not None else 0.0
    return rows(listed, loads, now, before[1] if before is not None else None, elapsed), now


def show(
    found: list[Row], output: Output, *, again: bool, columns: Sequence[str] = COLUMNS
) -> None:
    """Print the rows; on a terminal, those of another call replace those of the last."""
    if output is Output.JSON:
        print(json.dumps([row.to_json() for row in found]), flush=True)
        return
    if not sys.stdout.isatty():
        for row in found:
            print("\t".join(row.cells(columns)), flush=True)
        return
    from rich.console import Console
    from rich.markup import escape

    console = Console()
    table = new_table(columns)
    for row in found:
        table.add_row(*(escape(cell) for cell in row.cells(columns)))
    if again:
        console.clear()
    console.print(table)
