"""Kubernetes quantities as integer thousandths, so that they can be added and compared exactly.

Format: kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from decimal import ROUND_CEILING, Context, Decimal

from fleet_contract.pod.resources import QUANTITY, QUANTITY_CHARS

_PATTERN = re.compile(QUANTITY, re.ASCII)
_SUFFIX = re.compile(r"([numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]+)$")
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_EXACT = Context(prec=2 * QUANTITY_CHARS, rounding=ROUND_CEILING)
MOST = 2**63 * 1000
"""Kubernetes' own bound, in thousandths."""

Amounts = Mapping[str, int]
"""Resource name to thousandths of its unit (cores, bytes, items)."""


def thousandths(quantity: str | float) -> int:
    """`"500m"` is 500, `"2"` is 2000. Rounds up; at most MOST. Raises ValueError."""
    text = str(quantity)
    if isinstance(quantity, bool) or len(text) > QUANTITY_CHARS or not _PATTERN.fullmatch(text):
        raise ValueError(f"{quantity!r} is not a quantity")
    found = _SUFFIX.search(text)
    suffix = found[0] if found is not None else ""
    number = Decimal(text.removesuffix(suffix))
    if suffix in _BINARY:
        number *= 1024 ** _BINARY[suffix]
    else:
        power = _DECIMAL[suffix] if suffix in _DECIMAL else int(suffix[1:])
        number = number.scaleb(power, _EXACT)
    return math.ceil(min(number * 1000, Decimal(MOST)))


def amounts(resources: Mapping[str, str | float] | None) -> dict[str, int]:
    """Every quantity of a resource list. Raises ValueError."""
    return {name: thousandths(text) for name, text in (resources or {}).items()}


def add(total: dict[str, int], more: Amounts, sign: int = 1) -> None:
    """Add `more` to `total` in place; subtract with `sign` -1."""
    for name, amount in more.items():
        total[name] = total.get(name, 0) + sign * amount
        if total[name] == 0:
            del total[name]


def shown(name: str, amount: int) -> str:
    """An amount for people: `500m cpu`, `4.0 GiB memory`, `1 nvidia.com/gpu`."""
    if name in ("memory", "ephemeral-storage") or name.startswith("hugepages-"):
        return f"{amount / 1000 / 1024**3:.1f} GiB {name}"
    return f"{amount // 1000} {name}" if amount % 1000 == 0 else f"{amount}m {name}"
