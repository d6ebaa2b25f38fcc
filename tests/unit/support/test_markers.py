"""Markers that tests/conftest.py sets and checks."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.mark.usefixtures("demo_weights")
def test_a_test_with_real_weights_is_marked(request: pytest.FixtureRequest) -> None:
    assert request.node.get_closest_marker("weights")


@pytest.mark.parametrize("given", [{}, {"reruns": 1}, {"reason": "the clock of the CI machine"}])
def test_a_flaky_test_without_bound_or_reason_is_refused(
    request: pytest.FixtureRequest, given: dict[str, Any]
) -> None:
    request.node.add_marker(pytest.mark.flaky(**given))
    with pytest.raises(pytest.UsageError, match="reruns=N and reason=TEXT"):
        request.config.hook.pytest_itemcollected(item=request.node)
