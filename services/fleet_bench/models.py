"""Which model to measure where none is named: what the server lists for the task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from fleet_contract.server_protocol import ServerPhase

TIMEOUT_SECONDS = 10.0


class NoModel(Exception):
    """The server lists no model that fits, or cannot be asked; the text says what to do."""


def choose(listed: Sequence[Mapping[str, Any]], task: str) -> str:
    """Id of the first model of `task`, a ready one before others. Raises NoModel.

    A server that lists a single model without its task, as OpenAI's protocol allows, is taken to
    serve that task.
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
        answer = httpx.get(url, headers=dict(headers), timeout=TIMEOUT_SECONDS)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise NoModel(
            f"{url} cannot be read ({type(error).__name__}); start the server with "
            "`modelfleet up`, or name its address with --base-url."
        ) from None
    if answer.status_code != 200:
        raise NoModel(f"{url}: HTTP {answer.status_code}; name a model with --model-name.")
    try:
        entries = [dict(entry) for entry in answer.json()["data"]]
        if all(isinstance(entry["id"], str) for entry in entries):
            return entries
    except (ValueError, KeyError, TypeError):
        pass
    raise NoModel(f"{url} is not a list of models; name one with --model-name.")
