"""Explains how an InferenceModel is completed and run: origin of each field, pod, nodes. Pure.

Uses the operator's own functions, so that both agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from fleet_contract.safe_text import printable
from fleet_operator.decide.capacity import why_not
from fleet_operator.decide.rollout_strategy import Cluster
from fleet_operator.features import Features
from fleet_operator.resources import permissions
from fleet_operator.resources.images import Problem
from fleet_operator.resources.pod import pod_template
from fleet_operator.resources.pod_parts.fetch_secrets import fetch_secrets
from fleet_operator.resources.resolve import Resolution, Sources, resolve
from fleet_operator.resources.views import Raw
from fleet_operator.settings import OperatorSettings

VALUE_CHARS = 60
EVERY_FEATURE = Features(device_claims=True, inference_pools=True, image_volumes=True)
"""Whether the cluster has them is shown by the conditions of the resource."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """`fields` are (path, value, origin). `nodes` maps each node to why it cannot run the pod, None
    if it can; the mapping is None where nodes are unknown."""

    name: str
    fields: tuple[tuple[str, str, str], ...]
    notes: tuple[str, ...]
    problem: str | None
    pod: dict[str, Any] | None
    nodes: Mapping[str, str | None] | None


def explain(
    model: Raw, sources: Sources, settings: OperatorSettings, cluster: Cluster | None
) -> Explanation:
    """Explain one InferenceModel, applied or not."""
    name = str(model["metadata"]["name"])
    found = resolve(model.get("spec") or {}, sources)
    refused = permissions.refusal(model, found, settings) if found.spec is not None else None
    template = refused or pod_template(
        name, found, settings, meta=model["metadata"], features=EVERY_FEATURE
    )
    remote = found.spec is not None and found.spec.remote is not None
    problem = template.message if isinstance(template, Problem) else None
    pod = None if isinstance(template, Problem) or remote else template
    return Explanation(
        name=name,
        fields=tuple(_fields(found)),
        notes=(*found.notes, *_withheld(found, settings)),
        problem=problem,
        pod=pod,
        nodes=_nodes(pod, cluster),
    )


def render(explanation: Explanation) -> str:
    """The explanation as text for a terminal."""
    lines = [f"{explanation.name} is served as", ""]
    lines += _table(("FIELD", "VALUE", "FROM"), explanation.fields)
    lines += ["", "Other fields have their defaults (`kubectl explain im.spec`)."]
    lines += [f"Note: {printable(note)}." for note in explanation.notes]
    if explanation.problem is not None:
        problem = printable(explanation.problem)
        return "\n".join([*lines, "", f"It cannot be run: {problem}", ""])
    if explanation.pod is None:
        return "\n".join([*lines, "", "It runs outside the cluster, without a pod.", ""])
    text = yaml.safe_dump(explanation.pod, sort_keys=False, width=100)
    lines += ["", "Pod:", "", *(f"  {line}" for line in text.splitlines()), ""]
    if explanation.nodes is None:
        return "\n".join([*lines, "The nodes are unknown.", ""])
    if not explanation.nodes:
        return "\n".join([*lines, "There are no nodes.", ""])
    fitting_first = sorted(explanation.nodes.items(), key=lambda item: bool(item[1]))
    rows = [(name, why or "can run another server now") for name, why in fitting_first]
    return "\n".join([*lines, *_table(("NODE", "WHY"), rows), ""])


def _withheld(found: Resolution, settings: OperatorSettings) -> list[str]:
    message = fetch_secrets(found, settings, downloads_image=False).message
    return [message.removesuffix(".")] if message else []


def _fields(found: Resolution) -> list[tuple[str, str, str]]:
    wire = found.spec.model_dump(mode="json", by_alias=True) if found.spec is not None else {}
    rows = []
    for path, origin in sorted(found.origins.items(), key=lambda item: item[0] != "model"):
        rows.append((path, _shown(_at(wire, path)), origin))
    return rows


def _at(wire: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path; keys of maps may contain dots themselves."""
    value: Any = wire
    while path and isinstance(value, Mapping):
        key = next((key for key in value if path == key or path.startswith(f"{key}.")), None)
        if key is None:
            return None
        value, path = value[key], path[len(key) + 1 :]
    return value


def _shown(value: Any) -> str:
    text = printable(" ".join(str(value).split()))
    return text if len(text) <= VALUE_CHARS else f"{text[: VALUE_CHARS - 3]}..."


def _nodes(pod: Mapping[str, Any] | None, cluster: Cluster | None) -> dict[str, str | None] | None:
    if pod is None or cluster is None:
        return None
    return {
        node.name: why_not(pod["spec"], node, cluster.used.get(node.name, {}))
        for node in cluster.nodes
    }


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (header, *rows)
    ]
