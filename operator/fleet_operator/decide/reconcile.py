"""Decides the children and the status of an observed InferenceModel. Pure.

Level-triggered: the result does not depend on the event that led to the reconcile, and all state
that outlives it is in the status.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fleet_contract.spec import Engine
from fleet_contract.status import (
    DUPLICATE_ALIAS,
    DUPLICATE_MODEL,
    INVALID_SPEC,
    Rollout,
    Scaling,
    TrafficShare,
)
from fleet_operator.decide import (
    device_claims,
    inference_pool,
    profile_state,
    replica_writers,
    status,
)
from fleet_operator.decide.conditions import Extra
from fleet_operator.decide.decision import Beginning, Decision
from fleet_operator.decide.diagnosis import Stage, diagnose
from fleet_operator.decide.events import events
from fleet_operator.decide.observed import Observed, Ref, RemoteReport, Rival
from fleet_operator.decide.phase import PhaseDecision, decide_phase, is_passing
from fleet_operator.decide.rollout import RolloutStep, next_step, version_of
from fleet_operator.decide.rollout_strategy import HAND_OVER
from fleet_operator.decide.scaling import autoscale
from fleet_operator.decide.server_set import ServerSet
from fleet_operator.decide.status import read_part
from fleet_operator.decide.traffic import canary
from fleet_operator.decide.yielding import room as rooms
from fleet_operator.decide.yielding.candidate import may_yield_now
from fleet_operator.names import ANNOTATION_APPLIED, LABEL_TEMPLATE
from fleet_operator.pause import PAUSED, Pause, is_paused
from fleet_operator.resources import children, permissions
from fleet_operator.resources.images import Problem
from fleet_operator.resources.ownership import may_delete
from fleet_operator.resources.pod import pod_template
from fleet_operator.resources.server_container import Object
from fleet_operator.resources.views import PodView, is_accelerated, pod_requests
from fleet_operator.resources.volume_access import ReplicaLimit, limit_replicas, pinned
from fleet_operator.resources.volumes import cache_claim_name
from fleet_operator.timestamps import parse

DELETES_SERVERS = frozenset({DUPLICATE_MODEL})
"""Problems for which the model's servers are deleted; with all others they are kept."""


def reconcile(observed: Observed) -> Decision:
    """Children, status and events for what was observed."""
    observed = _with_own_claim(observed)
    target = _target(observed)
    # A problem stops changes to the pods, but the status still reports on those that exist.
    problem = _problem(observed)
    template = None if problem is not None else _template(observed, target)
    if isinstance(template, Problem):
        problem, template = template, None
    limit = None if template is None else _limit(observed, template, target)
    pause = _pause(observed, template, limit)
    if limit is not None and pause is None:
        target = replace(target, replicas=limit.replicas)
    step = None if pause is not None else _step(observed, template)
    version = step.version if step is not None else _present_version(observed)
    # With a problem nothing is scaled: the present servers are complete.
    wanted = target.replicas if problem is None else _present_replicas(observed)
    servers = ServerSet.read(observed, version, wanted)
    if problem is None and step is not None:
        problem = step.problem
    flaws = _flaws(observed, limit)
    ahead = step.waits_for if step is not None else ()
    wants_room = problem is None and step is not None and rooms.is_wanted(observed, target, servers)
    room = rooms.find(observed, step.template["spec"]) if wants_room and step is not None else None
    target = rooms.noted(target, room)
    parts = _remote(observed), ahead, room.message if room else ""
    decision = decide_phase(servers, target, problem, flaws, *parts)
    # Flaws are not failures of the servers, by which a weight is taken back.
    sound = decide_phase(servers, target, problem, (), *parts)
    choice = step.choice if step is not None else None
    objects = _objects(observed, step, target)
    rollout = step.rollout if step is not None else _rollout(observed)
    # With a problem the servers are not those of this spec, and a pause keeps everything.
    kept = problem is not None or pause is not None
    share = _past_share(observed) if kept else _share(observed, servers, sound, ahead)
    extra = Extra(problem, flaws, pause, share)
    after = status.build(observed, servers, target, decision, choice, rollout, extra)
    scaled = _scaled(observed, objects, target)
    new_events = events(observed.status, after, decision, scaled, choice)
    return Decision(
        status=after,
        objects=objects,
        delete=()
        if pause is not None
        else _unwanted(
            observed, objects, problem, device_claims.needed(observed, version, rollout)
        ),
        events=new_events,
        passing=not new_events and is_passing(observed.status, after, decision),
        requeue_after=_soonest(
            target.requeue_after,
            step.requeue_after if step is not None else None,
            replica_writers.requeue_after(observed),
            room.requeue_after if room is not None else None,
        ),
        wants_stable_template=step.wants_stable_template if step is not None else None,
        removes=scaled is not None and 0 < scaled[1] < scaled[0],
        begins=_beginning(step),
        waits=is_accelerated(template["spec"]) if ahead and template is not None else None,
        wants_neighbours=wants_room and observed.neighbours is None,
        yields=room.yields if room is not None else (),
    )


def _target(observed: Observed) -> autoscale.Target:
    spec = observed.resolution.spec
    meta, past = observed.model["metadata"], read_part(Scaling, observed.status.get("scaling"))
    if spec is None:
        return autoscale.Target(_present_replicas(observed), "Fixed", past)
    if is_paused(observed.model) and spec.engine is not Engine.REMOTE:
        return autoscale.Target(_present_replicas(observed), PAUSED, past)
    return autoscale.target(
        spec,
        observed.load,
        past,
        observed.wake,
        # A server that became ready after the last request has not been idle since then.
        max(parse(meta.get("creationTimestamp")) or observed.now, observed.last_ready),
        observed.now,
        observed.settings.scale_down_delay,
        any(_is_starting(pod, observed) for pod in observed.pods if pod.active),
        # It may have got requests since it was chosen.
        observed.yields_to if observed.yields_to and may_yield_now(observed) else "",
        observed.unplaced,
    )


def _is_starting(pod: PodView, observed: Observed) -> bool:
    found = diagnose(pod, observed.reports.get(pod.uid))
    return not found.failed and found.stage is not Stage.READY


def _problem(observed: Observed) -> Problem | None:
    # The id comes first: other problems of a model that is not served do not matter.
    if observed.rival is not None:
        return Problem(DUPLICATE_MODEL, _duplicate(observed, observed.rival))
    if observed.resolution.spec is None:
        return Problem(INVALID_SPEC, observed.resolution.problem or "the spec is not valid")
    refused = permissions.refusal(observed.model, observed.resolution, observed.settings)
    if refused is not None:
        return refused
    if observed.resolution.spec.engine is Engine.REMOTE:
        return None
    taken = sorted(observed.foreign & _wanted_refs(observed))
    if taken:
        kind, name = taken[0]
        return Problem(
            "NameTaken", f"A {kind} {name!r} exists that does not belong to this InferenceModel."
        )
    for ref, message in sorted(observed.errors.items()):
        if ref == inference_pool.ref(observed):
            continue  # routers do not need it
        return Problem("ApplyFailed", f"{ref.kind} {ref.name}: {message}")
    return None


def _duplicate(observed: Observed, rival: Rival) -> str:
    first = (
        f"The older InferenceModel {_named(observed, rival)} already serves {rival.identifier!r}"
        if rival.name
        else f"{rival.identifier!r} has the prefix of namespace {rival.namespace!r}"
    )
    own = observed.resolution.ids[1:]
    if not own:
        return f"{first}."
    return f"{first}; this one is not served, nor are its aliases ({', '.join(own)})."


def _flaws(observed: Observed, limit: ReplicaLimit | None) -> tuple[Problem, ...]:
    """Problems despite which the model is served."""
    found = (
        limit.problem if limit is not None else None,
        _lost_aliases(observed),
        inference_pool.problem(observed),
        _undeleted(observed),
    )
    return tuple(flaw for flaw in found if flaw is not None)


def _undeleted(observed: Observed) -> Problem | None:
    """The first object that is not needed but could not be deleted."""
    for ref, message in sorted(observed.undeleted.items()):
        return Problem("DeleteRefused", f"{ref.kind} {ref.name}: {message}")
    return None


def _named(observed: Observed, rival: Rival) -> str:
    """The name of another model, with its namespace if that is another one."""
    elsewhere = rival.namespace not in ("", observed.namespace)
    return repr(f"{rival.namespace}/{rival.name}" if elsewhere else rival.name)


def _lost_aliases(observed: Observed) -> Problem | None:
    if not observed.lost:
        return None
    whose = (f"{one.identifier!r} belongs to the InferenceModel {_named(observed, one)}"
             if one.name
             else f"{one.identifier!r} has the prefix of namespace {one.namespace!r}"
             for one in observed.lost)  # fmt: skip
    return Problem(DUPLICATE_ALIAS, f"{'; '.join(whose)}. This model is served without these ids.")


def _remote(observed: Observed) -> RemoteReport | None:
    """The last probe of the remote server; after a restart, the one in the status."""
    spec, meta = observed.resolution.spec, observed.model["metadata"]
    if spec is None or spec.remote is None:
        return None
    address = spec.remote.address
    if observed.remote is not None and observed.remote.address == address:
        return observed.remote
    for old in observed.status.get("conditions") or ():
        probed = old["type"] == "Ready" and old["reason"] in ("Remote", "RemoteUnreachable")
        if probed and old.get("observedGeneration") == meta.get("generation"):
            return RemoteReport(address, old["status"] == "True", old["message"])
    return None


def _wanted_refs(observed: Observed) -> frozenset[Ref]:
    name = observed.name
    refs = {Ref("Deployment", name), Ref("Service", name)}
    cache = observed.resolution.profile.model_cache
    if cache is not None and cache.makes_claim:
        refs.add(Ref("PersistentVolumeClaim", cache_claim_name(name)))
    return frozenset(refs)


def _template(observed: Observed, target: autoscale.Target) -> Object | Problem | None:
    if target.reason == "Remote":
        return None
    if profile_state.is_held(observed):
        return profile_state.present_template(observed)
    return pod_template(
        observed.name,
        observed.resolution,
        observed.settings,
        meta=observed.model["metadata"],
        features=observed.features,
    )


def _with_own_claim(observed: Observed) -> Observed:
    """With the access mode of the model's cache, also before its claim exists."""
    cache, name = observed.resolution.profile.model_cache, cache_claim_name(observed.name)
    if cache is None or cache.size is None or cache.claim is not None:
        return observed
    modes = {name: frozenset({cache.access_mode}), **observed.access_modes}
    return replace(observed, access_modes=modes)


def _limit(observed: Observed, template: Object, target: autoscale.Target) -> ReplicaLimit | None:
    volume = pinned(template["spec"], observed.access_modes)
    ready = sum(pod.ready for pod in observed.pods if pod.active)
    return None if volume is None else limit_replicas(volume, target.replicas, ready)


def _beginning(step: RolloutStep | None) -> Beginning | None:
    if step is None or not step.begins or step.choice is None:
        return None
    pod = step.template["spec"]
    return Beginning(
        is_accelerated(pod), step.choice.node, pod_requests(pod), step.strategy == HAND_OVER
    )


def _step(observed: Observed, template: Object | None) -> RolloutStep | None:
    return None if template is None else next_step(observed, template, _rollout(observed))


def _pause(observed: Observed, template: Object | None, limit: ReplicaLimit | None) -> Pause | None:
    if not is_paused(observed.model):
        return None
    spec = observed.resolution.spec
    if template is None or spec is None:
        return Pause(pending=False)
    requested = 1 if spec.replicas is None else spec.replicas
    requested = 0 if spec.stopped else requested
    scaled = requested != _present_replicas(observed)
    if limit is not None or (autoscale.is_on(spec) and not spec.stopped):
        scaled = False
    return Pause(scaled or version_of(template) != _present_version(observed))


def _past_share(observed: Observed) -> TrafficShare | None:
    """The share in the status, with its spec.

    Earlier versions did not record it. It is the present one, unless that was edited since.
    """
    past = read_part(TrafficShare, observed.status.get("traffic"))
    seen = observed.status.get("observedGeneration") == observed.model["metadata"]["generation"]
    if past is None or past.spec or not seen:
        return past
    return past.model_copy(update={"spec": canary.spec_digest(observed.model["spec"])})


def _share(
    observed: Observed, servers: ServerSet, decision: PhaseDecision, ahead: tuple[str, ...]
) -> TrafficShare | None:
    spec = observed.resolution.spec
    past = _past_share(observed)
    if spec is None:
        return past
    is_applied = not ahead and not profile_state.is_held(observed)
    applied = canary.spec_digest(observed.model["spec"]) if is_applied else None
    return canary.share(
        spec.traffic, past, servers, decision, observed.comparison, applied, observed.now
    )


def _rollout(observed: Observed) -> Rollout | None:
    return read_part(Rollout, observed.status.get("rollout"))


def _objects(
    observed: Observed, step: RolloutStep | None, target: autoscale.Target
) -> tuple[Object, ...]:
    if step is None:
        return ()
    model, cache = observed.model, observed.resolution.profile.model_cache
    claim_ref = Ref("PersistentVolumeClaim", cache_claim_name(observed.name))
    claim = children.cache_claim(model, cache, observed.children.get(claim_ref))
    spec = observed.resolution.spec
    made = [
        claim,
        children.claim_template(model, spec.devices) if spec is not None else None,
        _unchanged_deployment(observed, step, target)
        or children.deployment(
            model,
            step.template,
            target.replicas,
            step.strategy,
            observed.settings,
            profile_state.profile_in_use(observed),
            step.retry,
        ),
        children.service(model),
        children.budget(model) if target.replicas > 1 else None,
        _pool(observed, step),
    ]
    return tuple(child for child in made if child is not None)


def _pool(observed: Observed, step: RolloutStep) -> Object | None:
    spec = observed.resolution.spec
    if spec is None or not observed.features.inference_pools:
        return None
    return children.inference_pool(observed.model, spec.inference_pool, step.template)


def _unchanged_deployment(
    observed: Observed, step: RolloutStep, target: autoscale.Target
) -> Object | None:
    """The existing Deployment while a new version waits for its turn, unless it must be scaled:
    applying its template again would be a write for each model that waits."""
    found = observed.deployment
    if not step.waits_for or found is None or _present_replicas(observed) != target.replicas:
        return None
    applied = ANNOTATION_APPLIED in (found["metadata"].get("annotations") or {})
    return dict(found) if applied else None


def _unwanted(
    observed: Observed,
    objects: tuple[Object, ...],
    problem: Problem | None,
    needed: frozenset[Ref],
) -> tuple[Ref, ...]:
    if problem is not None and problem.reason not in DELETES_SERVERS:
        return ()
    if observed.rival is not None and observed.rival.namespace not in ("", observed.namespace):
        return ()  # another team must not be able to delete servers here
    kept = {Ref(child["kind"], child["metadata"]["name"]) for child in objects}
    if problem is None:
        kept |= needed
    return tuple(
        sorted(
            ref
            for ref, raw in observed.children.items()
            if ref not in kept and may_delete(ref.kind, raw, observed.model)
        )
    )


def _present_version(observed: Observed) -> str:
    labels: dict[str, Any] = (observed.deployment or {}).get("metadata", {}).get("labels") or {}
    return str(labels.get(LABEL_TEMPLATE, ""))


def _present_replicas(observed: Observed) -> int:
    return int((observed.deployment or {}).get("spec", {}).get("replicas", 0))


def _scaled(
    observed: Observed, objects: tuple[Object, ...], target: autoscale.Target
) -> tuple[int, int, str] | None:
    if not objects or observed.deployment is None:
        return None
    old = _present_replicas(observed)
    return (old, target.replicas, target.reason) if old != target.replicas else None


def _soonest(*moments: float | None) -> float | None:
    known = [moment for moment in moments if moment is not None]
    return min(known) if known else None
