"""One step of a rollout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fleet_contract.status import Rollout
from fleet_operator.decide.observed import Observed, Ref
from fleet_operator.decide.rollout import RolloutStep, next_step
from fleet_operator.decide.rollout_strategy import HAND_OVER, Cluster
from fleet_operator.resources.children import RolloutStrategy, deployment
from support.operator_objects import model, pod
from support.rollout_steps import BEFORE, FULL, template

Observe = Callable[..., Observed]


@pytest.fixture
def step(observe: Observe) -> Callable[..., RolloutStep]:
    """One step: the Deployment has `applied` by `strategy`; pods are (template, fields)."""

    def take(
        *pods: tuple[str, dict[str, Any]],
        applied: str | None = "new",
        strategy: RolloutStrategy = HAND_OVER,
        rollout: Rollout | None = BEFORE,
        cluster: Cluster | None = FULL,
        stable: str | None = None,
        conditions: Any = (),
        now: float | None = None,
        mode: str = "Auto",
        template_spec: dict[str, Any] | None = None,
        **seen: Any,
    ) -> RolloutStep:
        raw = model(rollout={"strategy": mode})
        raws = [pod(f"p{i}", template=which, requests={"cpu": "2"}, **fields)
                for i, (which, fields) in enumerate(pods)]  # fmt: skip
        bare = observe(raw)
        children = {}
        if applied is not None:
            made = deployment(raw, template(applied), 1, strategy, bare.settings)
            children[Ref("Deployment", "m")] = {**made, "status": {"conditions": conditions}}
        observed = observe(
            raw, raws, children=children, cluster=cluster,
            stable_template=template(stable) if stable else None,
            **({"now": now} if now is not None else {}), **seen,
        )  # fmt: skip
        wanted = template()
        return next_step(observed, {**wanted, "spec": template_spec or wanted["spec"]}, rollout)

    return take
