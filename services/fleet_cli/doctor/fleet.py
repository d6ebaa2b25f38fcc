"""Checks of what `modelfleet up` needs: settings, address, hub and the models to serve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import httpx

from fleet_cli.doctor.finding import Finding, Level
from fleet_contract import launch
from fleet_contract.safe_text import printable, redacted
from fleet_contract.spec import ModelSpec
from fleet_local import environment, replicas
from fleet_local.demand import budget
from fleet_local.errors import StartError
from fleet_local.processes import ports
from fleet_local.settings import UpSettings
from fleet_prepare.choose import check as check_machine
from fleet_prepare.errors import CannotServe
from fleet_prepare.machine import Machine
from fleet_prepare.preflight import preflight
from fleet_prepare.prepare import find
from fleet_weights.address import Hub, parse
from fleet_weights.errors import WeightsError
from fleet_weights.fetch import is_there
from fleet_weights.store import Store
from fleet_weights.transfer.retry_policy import RetryPolicy
from fleet_weights.transfer.web_client import PUBLIC_HUB

HUB_SECONDS = 5.0
ONCE = RetryPolicy(attempts=1, connect_seconds=HUB_SECONDS, read_seconds=HUB_SECONDS)


def of_error(check: str, error: StartError | WeightsError | CannotServe) -> Finding:
    """An error of another part, whose hint is the remedy."""
    return Finding(check, Level.ERROR, printable(error.message), printable(error.hint))


def address(settings: UpSettings) -> Finding:
    """Whether the router can listen on its address."""
    where = f"{settings.host}:{settings.port}"
    try:
        ports.require_free(settings.host, settings.port)
    except StartError as error:
        return of_error("port", error)
    return Finding("port", Level.OK, f"{where} is free")


def memory_budget(environ: Mapping[str, str]) -> Finding:
    """Whether MEMORY_BUDGET is valid, and what it is now."""
    try:
        size = budget.of(environ)
    except StartError as error:
        return of_error("budget", error)
    return Finding("budget", Level.OK, f"servers may take {budget.text(size)} of memory")


def hub(environ: Mapping[str, str], seconds: float = HUB_SECONDS) -> Finding:
    """Whether the hub, or the mirror of HF_ENDPOINT, responds; any response counts."""
    endpoint = environ.get("HF_ENDPOINT") or PUBLIC_HUB
    shown = printable(redacted(endpoint))
    try:
        httpx.get(endpoint, timeout=seconds)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        reason = printable(redacted(str(error))) or type(error).__name__
        return Finding(
            "hub", Level.WARNING, f"{shown} cannot be reached: {reason}",
            "Check the connection (HTTPS_PROXY, SSL_CERT_FILE), or set HF_ENDPOINT to a mirror."
            " Models that are on disk need no hub.",
        )  # fmt: skip
    return Finding("hub", Level.OK, f"{shown} responds")


def models(
    specs: Sequence[ModelSpec],
    settings: UpSettings,
    store: Store,
    machine: Machine,
    environ: Mapping[str, str],
    *,
    online: bool,
) -> list[Finding]:
    """For each model whether its weights are on disk or can be fetched, and an engine serves it."""
    found = []
    for spec in specs:
        try:
            number = replicas.number(spec)
        except StartError as error:
            found.append(of_error(_check(spec), error))
            continue
        if number:
            found.append(_model(spec, settings, store, machine, environ, online=online))
    return found


def _check(spec: ModelSpec) -> str:
    return f"model {printable(spec.model)}"


def _model(
    spec: ModelSpec,
    settings: UpSettings,
    store: Store,
    machine: Machine,
    environ: Mapping[str, str],
    *,
    online: bool,
) -> Finding:
    check = _check(spec)
    try:
        served = launch.decode(environment.of_server(spec, settings, environ, store.root))
        check_machine(served, machine)
        there = find(served, store, machine) is not None or is_there(served, store)
        if not there and not settings.download:
            return Finding(
                check, Level.ERROR, f"no weights in {store.root}, and AUTO_DOWNLOAD_MODELS is 0",
                f"Run `modelfleet pull {printable(spec.model)}` where the hub can be reached.",
            )  # fmt: skip
        if not there and not online and _is_of_hub(served):
            return Finding(
                check, Level.ERROR, f"no weights in {store.root}, and the hub cannot be reached",
                "Make the hub reachable, or copy the folder of a machine with the weights.",
            )  # fmt: skip
        preflight(served, store, machine, environ, retry_policy=ONCE)
    except (WeightsError, CannotServe) as error:
        return of_error(check, error)
    except ValueError as error:
        return Finding(check, Level.ERROR, printable(str(error)))
    scheme = (served.source or "").partition("://")[0]
    where = f" from {scheme}://" if scheme else ""
    return Finding(
        check, Level.OK, "weights are on disk" if there else f"`up` fetches its weights{where}"
    )


def _is_of_hub(spec: ModelSpec) -> bool:
    return spec.source is not None and isinstance(parse(spec.source), Hub)
