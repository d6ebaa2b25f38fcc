"""Single requests: each gets the response it must get."""

from __future__ import annotations

import pytest

from hostile.answers import CASES, Case
from hostile.target import Target
from support.required import did_not_run


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_gets_the_right_response(target: Target, case: Case) -> None:
    if case.local and not target.extras:
        did_not_run("needs what the suite's own fleet has; HOSTILE_URL is set")
    case.check(target)
