"""Reads from the API server's message whether a pod that a ResourceQuota refused may fit later.

Format: `exceeded quota: NAME, requested: A=1,B=2, used: A=3,B=4, limited: A=3,B=9`
(k8s.io/apiserver, plugin resourcequota).
"""

from __future__ import annotations

import re

from fleet_operator.quantity import thousandths

_AMOUNTS = re.compile(r"(requested|limited): ((?:[^\s,=]+=[^\s,=]+,?)+)")


def is_used_up(message: str) -> bool:
    """Whether a quota is used up now but large enough for the pod once others are gone."""
    return "exceeded quota" in message and not _is_too_small(message)


def _is_too_small(message: str) -> bool:
    """Whether a request alone exceeds the quota; False if the message cannot be read."""
    found = {name: _parsed(text) for name, text in _AMOUNTS.findall(message)}
    limited = found.get("limited", {})
    return any(
        name in limited and amount > limited[name]
        for name, amount in found.get("requested", {}).items()
    )


def _parsed(text: str) -> dict[str, int]:
    amounts: dict[str, int] = {}
    for part in text.split(","):
        name, _, amount = part.partition("=")
        try:
            amounts[name] = thousandths(amount)
        except ValueError:
            continue
    return amounts
