"""Decides which route a request takes, or which error it gets. Pure; called by `proxy`."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fleet_contract.endpoints import wrong_task
from fleet_contract.errors import BadRequest, ModelNotFound
from fleet_router.routing.paths import PathRule
from fleet_router.routing.table import Route, RouteTable

LISTED = 20


def everything(model: str) -> bool:
    """May be used."""
    return True


def choose_route(
    table: RouteTable,
    rule: PathRule,
    model: str | None,
    may_use: Callable[[str], bool] = everything,
) -> Route:
    """The route of `model`; without one, that of the only model that does the path's task.

    Models the caller may not use are not among the choices, and not named to it.

    Raises ModelNotFound, WrongTask (naming the right path) or BadRequest (naming the choices).
    """
    if model is None:
        candidates = [each for each in table.of_task(rule.task) if may_use(each.model)]
        if len(candidates) == 1:
            return candidates[0]
        names = listing(route.model for route in candidates)
        choices = f"choose one of {names}" if candidates else f"no model here serves {rule.path}"
        raise BadRequest(
            f"Missing required parameter: 'model'; {choices}.", param="model", code="missing"
        )
    route = table.by_id.get(model)
    if route is None:
        raise unknown(table, model, may_use)
    if rule.task is not None and route.spec.task is not rule.task:
        raise wrong_task(route.model, route.spec.task, rule.path)
    return route


def unknown(
    table: RouteTable, model: str, may_use: Callable[[str], bool] = everything
) -> ModelNotFound:
    """The error that names the models there are."""
    known = listing(route.model for route in table.routes if may_use(route.model))
    return ModelNotFound(
        f"The model {model[:200]!r} does not exist; this fleet has {known}.", param="model"
    )


def listing(names: Iterable[str]) -> str:
    """`'a', 'b' and 3 more`: at most 20 names; `no models` for none."""
    known = [repr(name) for name in names]
    if not known:
        return "no models"
    more = len(known) - LISTED
    return ", ".join(known[:LISTED]) + (f" and {more} more" if more > 0 else "")
