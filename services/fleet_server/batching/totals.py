"""The limit of all texts of one request together."""

from __future__ import annotations

from fleet_contract.errors import BadRequest
from fleet_contract.spec_parts import Limits


def check_total(number: int, limits: Limits, param: str) -> None:
    """Raises BadRequest if a request has `number` characters or token ids, and that is too many."""
    if number > limits.max_request_chars:
        raise BadRequest(
            f"{param!r} has {number} characters or token ids in total; at most "
            f"{limits.max_request_chars} are accepted in one request. Send several requests.",
            param=param,
        )
