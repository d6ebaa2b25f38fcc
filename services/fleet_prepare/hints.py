"""How to install engines that are missing."""

from __future__ import annotations

from fleet_contract.installation import install_command
from fleet_contract.spec import Engine, ModelSpec

CUDA_HINT = "`make up TORCH=1` (or `pip install modelfleet[torch,cuda]`) installs what it needs."
EXTRAS = {Engine.LLAMACPP: "llamacpp", Engine.TORCH: "torch"}
"""Extras of engines that `server` does not install."""


def torch_hint(spec: ModelSpec) -> str:
    """The command that installs the torch engine and serves the model."""
    return (
        f"`make up TORCH=1 MODELS={spec.model}` installs it and serves the model "
        "(`pip install 'modelfleet[torch]'` outside a source checkout)."
    )


def install_hint(engine: Engine) -> str:
    """How to install an engine."""
    if engine is Engine.VLLM:
        return (
            "vLLM needs an environment of its own: in a source checkout `make env-vllm` makes one "
            "with its build for CPUs; the server image of the flavour `vllm` has the one for GPUs."
        )
    return f"Install it with `{install_command(EXTRAS.get(engine, 'server'))}`."
