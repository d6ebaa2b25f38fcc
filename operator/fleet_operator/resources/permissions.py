"""Checks an InferenceModel against what the platform permits to its author. Pure.

The chart's ValidatingAdmissionPolicy refuses the same when a resource is written; this check is for
clusters without the policy and for resources that are older than it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from fleet_contract.policy import pod_templates, remote_keys, secret_references
from fleet_contract.spec import ModelSpec
from fleet_contract.status import INVALID_SPEC, REMOTE_KEY_REFUSED
from fleet_operator.resources.images import Problem
from fleet_operator.resources.resolve import Resolution
from fleet_operator.settings import OperatorSettings


def refusal(
    model: Mapping[str, Any], found: Resolution, settings: OperatorSettings
) -> Problem | None:
    """What the resource sets beyond the rights of its author; None if nothing.

    Fields from catalog and profile belong to the platform and are not checked.
    """
    namespace = str(model["metadata"].get("namespace", ""))
    if settings.pod_templates == pod_templates.RESTRICTED:
        written = model.get("spec") or {}
        why = pod_templates.refusal(written) or secret_references.refusal(
            written, namespace == settings.own_namespace, _reserved(found, settings)
        )
        if why is not None:
            return Problem(INVALID_SPEC, why)
    if found.spec is None or settings.remote_keys is None:
        return None
    why = _refused_key(found.spec, settings.remote_keys, namespace)
    return Problem(REMOTE_KEY_REFUSED, why) if why is not None else None


def _reserved(found: Resolution, settings: OperatorSettings) -> Collection[str]:
    """Names of the Secrets that the operator passes to pods."""
    names = (settings.hf_token_secret, *settings.pull_secrets, *found.profile_secrets)
    return {name for name in names if name}


def _refused_key(spec: ModelSpec, keys: remote_keys.RemoteKeys, namespace: str) -> str | None:
    if spec.remote is None or spec.remote.api_key_env is None:
        return None
    return remote_keys.refusal(keys, spec.remote.api_key_env, spec.remote.address, namespace)
