"""The weight of a model in its traffic group, where it rises by itself. Pure.

It rises by a step while errors, rejected requests and clients that give up are no more frequent and
first bytes come no later than at the primary of the group, and is set to 0 otherwise, or when a
server fails. A model whose weight was taken back gets requests again after a change of its servers
or of `traffic.weight`. A weight of 100 is kept by new servers of the same spec, such as after an
update of the operator: the primary may be asleep or gone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from fleet_contract.blocks.traffic import Traffic
from fleet_contract.status import TrafficShare
from fleet_operator.decide.observed import Comparison
from fleet_operator.decide.phase import PhaseDecision
from fleet_operator.decide.server_set import ServerSet
from fleet_operator.resources.digests import digest
from fleet_operator.timestamps import parse, render

TRAFFIC = "Traffic"
"""Type of the condition."""
RISING = "Rising"
WAITING = "WaitingForServers"
COMPLETE = "Complete"
TAKEN_BACK = "TakenBack"
REASONS = (RISING, WAITING, COMPLETE, TAKEN_BACK)
WHOLE = 100
NOT_OF_PODS = frozenset({
    "replicas", "stopped", "minReplicas", "maxReplicas", "scaleToZeroAfter", "priority",
    "yieldsAfter", "wakeAt", "prewarm", "targetInFlight", "scaleDownDelay", "routing", "rollout",
    "traffic", "inferencePool", "fallback", "price",
})  # fmt: skip
"""Fields of a spec that pods do not depend on; autoscalers write some of them."""
ERROR_MARGIN = 0.01
"""By how much the share of errors may exceed that of the primary."""
ABANDONED_MARGIN = 0.05
"""By how much the share of requests given up by their clients may exceed that of the primary."""
REJECTED_DEVIATIONS = 3.0
"""By how many standard deviations of a sample the share of 4xx may exceed that of the primary, in
addition to ERROR_MARGIN: clients make mistakes, as many with each model."""
REJECTED_ALONE = 0.5
"""Share of 4xx that is too many if too few requests of the primary are known."""
FEW_ERRORS = 2
"""Up to this number, errors may be chance, whatever their share."""
SLOWER = 1.25
SLOWER_SECONDS = 0.1
"""Mean time to the first byte that counts as slower: SLOWER times that of the primary, and this."""


def share(
    traffic: Traffic | None,
    past: TrafficShare | None,
    servers: ServerSet,
    decision: PhaseDecision,
    comparison: Comparison | None,
    spec: str | None,
    now: float,
) -> TrafficShare | None:
    """The share from now on; None if it does not rise by itself.

    `spec` is the digest of the spec that the servers have, None while they have an earlier one.
    """
    if traffic is None or traffic.rise is None:
        return None
    serving = bool(servers.current_ready) or decision.reason == "Remote"
    began = TrafficShare(
        weight=traffic.weight,
        start=traffic.weight,
        version=servers.version,
        spec=spec or (past.spec if past is not None else ""),
        reason=RISING if serving else WAITING,
        since=render(now),
    )
    if past is None or past.start != traffic.weight:
        past = began
    elif past.version != servers.version:
        same = past.weight == WHOLE and past.spec == spec
        past = past.model_copy(update={"version": servers.version}) if same else began
    if spec is not None:
        past = past.model_copy(update={"spec": spec})
    if past.reason == TAKEN_BACK:
        return past
    if decision.failed:
        return _taken_back(past, f"{decision.reason}: {decision.message}", now)
    if not serving:
        return past if past.reason == WAITING else _changed(past, WAITING, past.weight, now)
    if past.reason == WAITING:
        return _changed(past, COMPLETE if past.weight == WHOLE else RISING, past.weight, now)
    # A comparison of an earlier weight does not count.
    if comparison is None or comparison.since != past.since:
        return past
    if comparison.own.requests < traffic.rise.min_requests:
        return past
    worse = why_worse(comparison, traffic.rise.min_requests)
    if worse:
        return _taken_back(past, worse, now)
    # Responses are evidence; requests that have none yet, or a router that is not read, are not.
    if not comparison.complete or comparison.own.first_bytes < traffic.rise.min_requests:
        return past
    if past.weight == WHOLE:
        return past if past.reason == COMPLETE else _changed(past, COMPLETE, WHOLE, now)
    if now - (parse(past.since) or now) < traffic.rise.interval_seconds:
        return past
    weight = min(WHOLE, past.weight + traffic.rise.step)
    return _changed(past, COMPLETE if weight == WHOLE else RISING, weight, now)


def why_worse(comparison: Comparison, few: int) -> str:
    """How the model does worse than the primary, "" if it does not.

    With fewer than `few` requests of the primary, errors are compared with none, and rejected
    requests with REJECTED_ALONE.
    """
    own, primary = comparison.own, comparison.primary
    expected = primary.error_share if primary.requests >= few else 0.0
    if own.errors > FEW_ERRORS and own.error_share > expected + ERROR_MARGIN:
        return f"{own.error_share:.1%} of its requests fail, {expected:.1%} of the primary's."
    if own.rejected > FEW_ERRORS and own.rejected_share > _most_rejected(comparison, few):
        return (
            f"{own.rejected_share:.1%} of its requests are rejected with 4xx,"
            f" {primary.rejected_share:.1%} of the primary's."
        )
    given_up = primary.abandoned_share
    if (
        primary.requests >= few
        and own.abandoned > FEW_ERRORS
        and own.abandoned_share > given_up + ABANDONED_MARGIN
    ):
        return (
            f"{own.abandoned_share:.1%} of its requests are given up by their clients,"
            f" {given_up:.1%} of the primary's."
        )
    if min(own.first_bytes, primary.first_bytes) < few:
        return ""
    if own.mean_first_byte > primary.mean_first_byte * SLOWER + SLOWER_SECONDS:
        return (
            f"The first byte of its responses takes {own.mean_first_byte:.2f} s on average, that of"
            f" the primary's {primary.mean_first_byte:.2f} s."
        )
    return ""


def _most_rejected(comparison: Comparison, few: int) -> float:
    """The largest share of 4xx that is not worse than that of the primary."""
    own, primary = comparison.own, comparison.primary
    if primary.requests < few:
        return REJECTED_ALONE
    expected = primary.rejected_share
    deviation = math.sqrt(expected * (1 - expected) / own.requests)
    return expected + ERROR_MARGIN + REJECTED_DEVIATIONS * deviation


def spec_digest(spec: Mapping[str, Any]) -> str:
    """Digest of the fields of a spec, in wire form, on which the pod template depends."""
    return digest({name: value for name, value in spec.items() if name not in NOT_OF_PODS})


def describe(traffic: Traffic, found: TrafficShare) -> str:
    """The share for people."""
    text = f"{found.weight}% of the requests for {traffic.group!r}."
    return f"{text} {found.message}".strip()


def _changed(past: TrafficShare, reason: str, weight: int, now: float) -> TrafficShare:
    return past.model_copy(update={"reason": reason, "weight": weight, "since": render(now)})


def _taken_back(past: TrafficShare, message: str, now: float) -> TrafficShare:
    back = _changed(past, TAKEN_BACK, 0, now)
    return back.model_copy(update={"message": message[:1000]})
