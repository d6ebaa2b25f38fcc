"""Unknown fields of a request: ignored and counted, unless one looks like a known field."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from fleet_contract.errors import BadRequest, UnsupportedParameter
from fleet_server.metrics import Metrics
from fleet_web.logs import event

logger = logging.getLogger(__name__)


MAX_UNKNOWN = 100
MAX_NAME = 100


def count_ignored(body: Mapping[str, Any], known: Collection[str], metrics: Metrics) -> None:
    """Count the fields of `body` that are not in `known`.

    Raises UnsupportedParameter for one that is another spelling of such a field, which would be
    lost, and BadRequest for more than `MAX_UNKNOWN`.
    """
    unknown = body.keys() - set(known)
    if not unknown:
        return
    if len(unknown) > MAX_UNKNOWN:
        raise BadRequest(
            f"The body has {len(unknown)} unknown fields; at most {MAX_UNKNOWN} are accepted."
        )
    for name in unknown:
        check_spelling(name, known)
    metrics.ignored_fields(len(unknown))
    event(logger, "ignored_fields", number=len(unknown))


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
