"""Selects the route of a request, or the error for it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fleet_contract.endpoints import wrong_task
from fleet_contract.errors import BadRequest, ModelNotFound
from fleet_router.routing.paths import PathRule
from fleet_router.routing.table import Route, RouteTable

MAX_NAMES = 20


def allow_all(model: str) -> bool:
    """Permit every model."""
    return True


def select_route(
    table: RouteTable,
    rule: PathRule,
    model: str | None,
    may_use: Callable[[str], bool] = allow_all,
) -> Route:
    """The route of `model`; if None, of the only model with the path's task.

    Models that the caller may not use are neither selected nor named in errors.

    Raises ModelNotFound, WrongTask (with the right path) or BadRequest (with the candidates).
    """
    if model is None:
        candidates = [each for each in table.of_task(rule.task) if may_use(each.model)]
        if len(candidates) == 1:
            return candidates[0]
        names = join_names([route.model for route in candidates])
        hint = f"choose one of {names}" if candidates else f"no model supports {rule.path}"
        raise BadRequest(
            f"Missing required parameter: 'model'; {hint}.", param="model", code="missing"
        )
    route = table.find(model)
    if route is None:
        raise model_not_found(table, model, may_use)
    if rule.task is not None and route.spec.task is not rule.task:
        raise wrong_task(route.model, route.spec.task, rule.path)
    return route


def model_not_found(
    table: RouteTable, model: str, may_use: Callable[[str], bool] = allow_all
) -> ModelNotFound:
    """The error, with the names of existing models."""
    known = join_names([route.model for route in table.of_task(None) if may_use(route.model)])
    return ModelNotFound(
        f"The model {model[:200]!r} does not exist; this fleet has {known}.", param="model"
    )


def join_names(names: Sequence[str]) -> str:
    """`'a', 'b' and 3 more`: at most 20 names; `no models` if empty."""
    if not names:
        return "no models"
    more = len(names) - MAX_NAMES
    quoted = ", ".join(repr(name) for name in names[:MAX_NAMES])
    return quoted + (f" and {more} more" if more > 0 else "")
