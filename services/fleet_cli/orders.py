"""`modelfleet load`, `unload` and `scale`: start, stop and scale models of a fleet of this folder,
or of a cluster."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from fleet_cli.client.output import errors, safe
from fleet_cli.cluster.options import (
    Cluster,
    Context,
    Kubeconfig,
    Namespace,
    Place,
    place_of,
)
from fleet_cli.fleet_folder import Entry, Port, entries_of, entry_of, folder_of
from fleet_contract.status import Phase

load_app = typer.Typer(add_completion=False)
unload_app = typer.Typer(add_completion=False)
scale_app = typer.Typer(add_completion=False)

POLL_SECONDS = 0.2
TAKEN_SECONDS = 10.0
"""A fleet takes orders five times a second."""
ON_DEMAND = ("scaleToZeroAfter", "yieldsAfter")
"""Fields with which a model with `replicas: 0` starts at its first request."""

Model = Annotated[str, typer.Argument(help="Id or alias of a model of the fleet.")]
Wait = Annotated[bool, typer.Option(help="Wait until it is done.")]


@load_app.command()
def load(
    model: Model,
    port: Port = None,
    wait: Wait = True,
    cluster: Cluster = False,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Fetch and start a model as its first request would, and wait until it is ready.

    On a cluster also one that was stopped.
    """
    with errors("load"):
        place = place_of(cluster, namespace, context, kubeconfig)
        if place is None:
            order(model, port, wait=wait, servers=None)
        else:
            on_cluster(place, "load", model, wait=wait)


@unload_app.command()
def unload(
    model: Model,
    port: Port = None,
    wait: Wait = True,
    cluster: Cluster = False,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Stop a model once it has no request in flight; its next request starts it again.

    On a cluster it is `stopped`: requests are refused until `load`.
    """
    with errors("unload"):
        place = place_of(cluster, namespace, context, kubeconfig)
        if place is None:
            order(model, port, wait=wait, servers=0)
        else:
            on_cluster(place, "unload", model, wait=wait)


@scale_app.command()
def scale(
    model: Model,
    replicas: Annotated[int, typer.Argument(min=0, help="Number of servers.")],
    port: Port = None,
    wait: Wait = True,
    cluster: Cluster = False,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Set the number of servers of a model, and wait until they are ready.

    On a cluster it is the `replicas` of the resource; on this machine it lasts until the fleet
    ends, and 0 is the same as `unload`.
    """
    with errors("scale"):
        place = place_of(cluster, namespace, context, kubeconfig)
        if place is not None:
            on_cluster(place, "scale", model, replicas, wait=wait)
        else:
            order(model, port, wait=wait, servers=replicas)


def on_cluster(place: Place, name: str, *arguments: Any, wait: bool) -> None:
    """Run one of `fleet_cli.cluster.orders`. Raises ValueError if it fails."""
    from fleet_cli.cluster import orders
    from fleet_cli.cluster.session import run

    work = getattr(orders, name)
    run(place, lambda session: work(session, *arguments, wait=wait, show=_show))


def _show(text: str) -> None:
    print(safe(text), flush=True)


def order(model: str, port: int | None, *, wait: bool, servers: int | None) -> None:
    """Give an order (`fleet_contract.api.control.Order`). Raises ValueError if it fails, and
    OSError."""
    from fleet_contract.api.control import MOST_SERVERS, Order
    from fleet_local.demand import orders
    from fleet_local.demand.progress import NOT_SCALED

    if servers is not None and servers > MOST_SERVERS:
        raise ValueError(f"at most {MOST_SERVERS} servers of a model run on one machine")
    folder = folder_of(port)
    identifier = found(folder, model)["spec"]["model"]
    until_taken(folder, orders.give(folder, Order(identifier, servers)))
    shown = ""
    while wait:
        entry = found(folder, identifier)
        text = entry.get("progress") or ""
        if servers != 0 and entry.get("phase") == Phase.FAILED:
            raise ValueError(f"{identifier} has failed: {entry.get('reason')}")
        if servers and text.startswith(NOT_SCALED):
            raise ValueError(f"{identifier} is {text}")
        if is_done(entry, servers):
            return
        require_fleet(folder)
        if text != shown:
            shown = text
            _show(f"{identifier}: {text}")
        time.sleep(POLL_SECONDS)


def is_done(entry: Mapping[str, Any], servers: int | None) -> bool:
    """Whether the model of an entry of the routes has what was ordered."""
    from fleet_local.demand.progress import NOT_SCALED, STOPPING

    progress, running = entry.get("progress"), len(entry["endpoints"])
    if servers is None:
        return bool(running) and (not progress or progress.startswith(NOT_SCALED))
    if servers:
        return running == servers and not progress
    # Its weights may be on their way, which nothing stops.
    return entry.get("phase") in (Phase.SCALED_TO_ZERO, Phase.FAILED) and progress != STOPPING


def require_fleet(folder: Path) -> None:
    """Raises ValueError if no fleet runs with its files in `folder`."""
    from fleet_local.run_lock import is_locked

    if not is_locked(folder):
        raise ValueError(f"no fleet is running in {folder}")


def until_taken(folder: Path, path: Path) -> None:
    """Wait until the fleet has taken the order in the file `path`. Raises ValueError if it does
    not; the order is deleted then."""
    deadline = time.monotonic() + TAKEN_SECONDS
    try:
        while path.exists():
            require_fleet(folder)
            if time.monotonic() > deadline:
                raise ValueError(
                    f"the fleet of {folder} is still starting: try again when it is ready"
                )
            time.sleep(POLL_SECONDS)
    except BaseException:  # Ctrl-C too: it would be carried out later
        path.unlink(missing_ok=True)
        raise
    time.sleep(2 * POLL_SECONDS)  # the routes follow the order


def found(folder: Path, model: str) -> Entry:
    """The entry of a model that can be started, in the routes of the fleet. Raises ValueError
    without one."""
    entry = entry_of(entries_of(folder), model)
    spec = entry["spec"]
    model = spec["model"]
    if spec.get("stopped"):
        raise ValueError(f"{model} is stopped (`stopped: true`)")
    if spec.get("engine") == "remote":
        raise ValueError(f"{model} is remote: it has no servers here")
    if spec.get("replicas") == 0 and not any(spec.get(name) is not None for name in ON_DEMAND):
        raise ValueError(
            f"{model} has `replicas: 0` without scaleToZeroAfter or yieldsAfter, so that nothing"
            " starts it: change its manifest and start the fleet again"
        )
    return entry
