"""One bounded attack: what it sends, which requests run beside it, and what it may cost."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from hostile.caller import STEP_SECONDS, Ask, Caller, chat
from hostile.target import Reply, Target

REFUSED = frozenset({400, 408, 413, 415, 422, 429, 431})
"""What a request may be refused with while every server is well."""
TAKEN = REFUSED | {200}
GROWTH_MIB = 160.0


@dataclass(frozen=True)
class Attack:
    """`run(target, caller)` raises AssertionError where what the attacker sees is wrong.

    No process may grow by more than `mib` within it. `local` attacks need the fleet's processes or
    files.
    """

    name: str
    run: Callable[[Target, Caller], None]
    kinds: Sequence[Ask] = (chat,)
    mib: float = GROWTH_MIB
    step: float = STEP_SECONDS
    local: bool = False


def at_once(calls: Sequence[Callable[[], Reply]]) -> list[Reply | Exception]:
    """What requests that are sent at the same time get; an exception where that is no response."""

    def one(call: Callable[[], Reply]) -> Reply | Exception:
        try:
            return call()
        except (OSError, http.client.HTTPException) as error:
            return error

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(one, calls))


def expect(found: Sequence[Reply | Exception], statuses: Collection[int]) -> None:
    """Raises AssertionError where one of them is no response with such a status."""
    wrong = [
        repr(each) if isinstance(each, Exception) else f"{each.status}: {each.body[:200]!r}"
        for each in found
        if isinstance(each, Exception) or each.status not in statuses
    ]
    assert not wrong, wrong
