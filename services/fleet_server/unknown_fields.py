"""Unknown fields of a request: ignored and counted, unless one looks like a known field."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from pydantic import BaseModel

from fleet_contract.errors import BadRequest, UnsupportedParameter
from fleet_server.metrics import Metrics
from fleet_web.logs import event

logger = logging.getLogger(__name__)


MAX_UNKNOWN = 100
MAX_NAME = 100


def count_ignored(
    body: Mapping[str, Any],
    known: type[BaseModel],
    metrics: Metrics,
    no_ops: Mapping[str, tuple[Any, ...]] | None = None,
) -> None:
    """Count the fields of `body` that neither `known` nor `no_ops` has.

    Raises UnsupportedParameter for one that is another spelling of such a field, which would be
    lost, and BadRequest for more than `MAX_UNKNOWN`.
    """
    names = known.model_fields.keys() | (no_ops or {}).keys()
    unknown = body.keys() - names
    if not unknown:
        return
    if len(unknown) > MAX_UNKNOWN:
        raise BadRequest(
            f"The body has {len(unknown)} unknown fields; at most {MAX_UNKNOWN} are accepted."
        )
    for name in unknown:
        check_spelling(name, names)
    metrics.ignored_fields(len(unknown))
    event(logger, "ignored_fields", number=len(unknown))


def refuse_unsupported(body: Mapping[str, Any], no_ops: Mapping[str, tuple[Any, ...]]) -> None:
    """Raises UnsupportedParameter for a field of `no_ops` with a value that would have an effect:
    one that is not among the field's values."""
    for name, accepted in no_ops.items():
        if name in body and not any(
            body[name] == value and type(body[name]) is type(value) for value in accepted
        ):
            values = " or ".join(orjson.dumps(value).decode() for value in accepted)
            raise UnsupportedParameter(
                f"{name!r} is not supported; the only accepted value is {values}.", param=name
            )


def check_spelling(name: str, known: Iterable[str]) -> None:
    """Raises UnsupportedParameter if the unknown `name` differs from a known one only in case,
    separators and brackets: `topN`, `top-n` and `top_n[x]` are spellings of `top_n`."""
    plain = _plain(name[:MAX_NAME])
    meant = next((each for each in known if _plain(each) == plain), None)
    if meant is not None:
        shown = name[:MAX_NAME]
        raise UnsupportedParameter(f"Unknown field {shown!r}; use {meant!r}.", param=shown)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", re.split(r"[\[.]", name.strip(), maxsplit=1)[0].lower())
