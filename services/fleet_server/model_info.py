"""What `/v1/models` says about the model of a server."""

from __future__ import annotations

from typing import Any

from fleet_contract.api.models import ModelObject
from fleet_contract.server_protocol import ServerPhase
from fleet_contract.spec import ModelSpec, Task
from fleet_server.state import ServerState


def model_info(server: ServerState) -> ModelObject:
    """An OpenAI model object with the fields this project adds."""
    spec, model = server.spec, server.loaded
    state = server.phase if server.is_healthy else ServerPhase.FAILED
    return {
        "id": spec.model,
        "object": "model",
        "created": server.created,
        "owned_by": spec.model.split("/")[0] if "/" in spec.model else "modelfleet",
        "task": spec.task.value,
        "engine": server.choice.engine.value if server.choice else spec.engine.value,
        "engine_reason": server.choice.reason if server.choice else None,
        "device": getattr(model, "device", server.choice.device if server.choice else None),
        "state": state.value,
        "modalities": {
            "input": [modality.value for modality in spec.input_modalities],
            "output": [modality.value for modality in spec.output_modalities],
        },
        "dimensions": getattr(model, "dimensions", None) or spec.dimensions,
        "context_length": _context_length(spec, model),
        "aliases": list(spec.aliases),
    }


def _context_length(spec: ModelSpec, model: Any) -> int | None:
    name = "context_length" if spec.task is Task.CHAT else "max_tokens"
    length: int | None = getattr(model, name, None) or spec.context_length
    return length
