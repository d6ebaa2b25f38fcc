"""Decides which route a request takes, or which error it gets. Pure; called by `proxy`."""

from __future__ import annotations

from collections.abc import Iterable

from fleet_contract.endpoints import wrong_task
from fleet_contract.errors import BadRequest, ModelNotFound
from fleet_router.paths import PathRule
from fleet_router.routes import Route, RouteTable

LISTED = 20


def choose_route(table: RouteTable, rule: PathRule, model: str | None) -> Route:
    """The route of `model`; without one, that of the only model that does the path's task.

    Raises ModelNotFound, WrongTask (naming the right path) or BadRequest (naming the choices).
    """
    if model is None:
        candidates = table.of_task(rule.task)
        if len(candidates) == 1:
            return candidates[0]
        names = listing(route.model for route in candidates)
        choices = f"choose one of {names}" if candidates else f"no model here serves {rule.path}"
        raise BadRequest(
            f"Missing required parameter: 'model'; {choices}.", param="model", code="missing"
        )
    route = table.by_id.get(model)
    if route is None:
        known = listing(route.model for route in table.routes)
        raise ModelNotFound(
            f"The model {model[:200]!r} does not exist; this fleet has {known}.", param="model"
        )
    if rule.task is not None and route.spec.task is not rule.task:
        raise wrong_task(route.model, route.spec.task, rule.path)
    return route


def listing(names: Iterable[str]) -> str:
    """`'a', 'b' and 3 more`: at most 20 names; `no models` for none."""
    known = [repr(name) for name in names]
    if not known:
        return "no models"
    more = len(known) - LISTED
    return ", ".join(known[:LISTED]) + (f" and {more} more" if more > 0 else "")
