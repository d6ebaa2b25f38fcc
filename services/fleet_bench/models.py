"""The model to measure where none is named: the first that the server lists for the task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from fleet_contract.server_protocol import ServerPhase

TIMEOUT_SECONDS = 10.0


class NoModel(Exception):
    """The server lists no suitable model, or its list cannot be read."""


def choose(listed: Sequence[Mapping[str, Any]], task: str) -> str:
    """Id of the first ready model of `task`, else of the first. Raises NoModel.

    A single model listed without a task, as by servers of plain OpenAI, is assumed to serve it.
    """
    fitting = [entry for entry in listed if entry.get("task") == task]
    if not fitting and len(listed) == 1 and "task" not in listed[0]:
        fitting = list(listed)
    if fitting:
        ready = (entry for entry in fitting if entry.get("state") == ServerPhase.READY)
        return str(next(ready, fitting[0])["id"])
    ids = ", ".join(str(entry["id"]) for entry in listed) or "no model"
    raise NoModel(f"The server lists no model of task {task} ({ids}); name one with --model-name.")


def listed(root: str, headers: Mapping[str, str]) -> list[dict[str, Any]]:
    """The entries of `GET /v1/models`; `root` ends with `/v1`. Raises NoModel."""
    url = f"{root}/models"
    try:
        response = httpx.get(url, headers=dict(headers), timeout=TIMEOUT_SECONDS)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise NoModel(
            f"{url} cannot be read ({type(error).__name__}); start the server with "
            "`modelfleet up`, or name its address with --base-url."
        ) from None
    if response.status_code != 200:
        raise NoModel(f"{url}: HTTP {response.status_code}; name a model with --model-name.")
    try:
        entries = [dict(entry) for entry in response.json()["data"]]
        if all(isinstance(entry["id"], str) for entry in entries):
            return entries
    except (ValueError, KeyError, TypeError):
        pass
    raise NoModel(f"{url} is not a list of models; name one with --model-name.")
