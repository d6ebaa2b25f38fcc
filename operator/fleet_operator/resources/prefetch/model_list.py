"""The models whose weights are prefetched, as manifests for `modelfleet pull`. Pure.

The manifests are complete: a catalog without entries keeps `pull` from adding fields of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from fleet_contract import accelerators
from fleet_contract.accelerators import Vendor
from fleet_contract.names import API_VERSION, KIND
from fleet_contract.spec import ModelSpec
from fleet_operator.resources.server_container import server_spec
from fleet_operator.resources.volumes import FILES_BYTES

FIELDS = (
    "model", "task", "source", "sha256", "weights", "s3", "engine", "device", "dtype",
    "quantization", "vision", "adapters",
)  # fmt: skip
"""Those that the files of a model and their conversion depend on, besides `speculative.draft`. A
change of others would replace all prefetching pods."""
GPUS = (Vendor.NVIDIA, Vendor.AMD)
NO_CATALOG = "replace: true\nmodels: []\n"


class ModelList(NamedTuple):
    """`text` is YAML; `left_out` is the number of models that it has no room for."""

    text: str
    left_out: int


def model_list(models: Iterable[tuple[str, ModelSpec]]) -> ModelList:
    """The list of these models, by name; of those with the same weights, the first."""
    items: list[str] = []
    seen: set[str] = set()
    size = left_out = 0
    for name, spec in sorted(models, key=lambda one: one[0]):
        fields = _fields(spec)
        content = json.dumps(fields, sort_keys=True)
        if content in seen:
            continue
        seen.add(content)
        item = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": fields}
        text = json.dumps(item, sort_keys=True, separators=(",", ":"))
        if size + len(text) + 1 > FILES_BYTES:
            left_out += 1
            continue
        size += len(text) + 1
        items.append(text)
    return ModelList(f'{{"kind":"List","items":[{",".join(items)}]}}', left_out)


def _fields(spec: ModelSpec) -> dict[str, Any]:
    wire = server_spec(spec).to_wire()
    if wire.get("device", "auto") == "auto" and _has_gpu(spec):
        wire["device"] = "cuda"  # not seen by `pull`, which then converts nothing for a CPU
    found = {name: wire[name] for name in FIELDS if name in wire}
    if draft := wire.get("speculative", {}).get("draft"):
        found["speculative"] = {"draft": draft}
    return found


def _has_gpu(spec: ModelSpec) -> bool:
    """Whether its server will choose a GPU of NVIDIA or AMD by itself."""
    return any(accelerators.vendor(name) in GPUS for name in accelerators.requested(spec))
