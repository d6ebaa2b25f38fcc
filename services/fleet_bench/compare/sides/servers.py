"""Servers of a comparison that are started here: Modelfleet's and the reference."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from fleet_bench.compare.errors import CannotCompare
from fleet_bench.compare.sides.environment import interpreter
from fleet_bench.compare.sides.process import running
from fleet_bench.compare.sides.side import Side
from fleet_contract.cpus import available_cpus
from fleet_contract.launch import encode
from fleet_contract.spec import Dtype, Engine, ModelSpec, Pooling
from fleet_weights.secrets import without_secrets

ROOT = Path(__file__).parents[3]
"""The folder of fleet_bench; last in the reference's search path, after its own libraries."""
LAUNCH = (
    "import runpy, sys; sys.path.append(sys.argv.pop(1)); "
    "runpy.run_module('fleet_bench.reference', run_name='__main__', alter_sys=True)"
)
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
OWN_ENGINE = "torch"


@dataclass(frozen=True, slots=True)
class Reference:
    """`library` is `transformers` or `faster-whisper`, `python` an interpreter that has it."""

    library: str
    python: str


def reference_of(
    spec: ModelSpec, path: Path, requested: str, environ: Mapping[str, str]
) -> Reference:
    """The reference for a model with weights at `path`. Raises CannotCompare."""
    library = library_of(spec, path)
    if requested not in ("auto", library):
        raise CannotCompare(
            f"{requested} cannot load the files of {spec.model}.", f"Use --reference {library}."
        )
    return Reference(library, interpreter(library, environ))


def library_of(spec: ModelSpec, path: Path) -> str:
    """`faster-whisper` for Whisper in CTranslate2 format, else `transformers`."""
    if spec.task.value == "speech" and is_ctranslate2(path):
        return "faster-whisper"
    return "transformers"


def is_ctranslate2(path: Path) -> bool:
    """Whether a folder holds a CTranslate2 model: `model.bin` without a transformers config."""
    try:
        config = json.loads((path / "config.json").read_text())
    except (OSError, ValueError):
        return (path / "model.bin").is_file()
    return (path / "model.bin").is_file() and "model_type" not in config


@contextmanager
def served(
    spec: ModelSpec, models: Path, environ: Mapping[str, str], device: str
) -> Iterator[Side]:
    """A Modelfleet server of `spec`, ready. Raises CannotCompare."""
    variables = {"LOG_FORMAT": "text", **environ, **encode(spec)}
    variables["MODELS_DIR"] = str(models.resolve())
    if device != "auto":
        variables["MODEL_DEVICE"] = device
    command = [sys.executable, "-m", "fleet_server"]
    with running(f"The server of {spec.model}", command, variables, "/readyz") as server:
        yield Side(f"modelfleet, {_engine(server.url)}", server.url, spec.model, server.pid)


@contextmanager
def referred(
    spec: ModelSpec, path: Path, reference: Reference, environ: Mapping[str, str],
    device: str, dtype: str,
) -> Iterator[Side]:  # fmt: skip
    """A reference server of the weights at `path`, ready. Raises CannotCompare."""
    options = {
        "--library": reference.library, "--task": spec.task.value, "--path": str(path),
        "--model": spec.model, "--device": device, "--dtype": dtype,
    }  # fmt: skip
    if spec.pooling is not Pooling.AUTO:
        options["--pooling"] = spec.pooling.value
    if spec.context_length is not None:
        options["--max-tokens"] = str(spec.context_length)
    command = [reference.python, "-P", "-c", LAUNCH, str(ROOT)]
    command += [part for option in options.items() for part in option]
    threads = {"OMP_NUM_THREADS": environ.get("OMP_NUM_THREADS") or str(available_cpus())}
    name = f"The reference ({reference.library})"
    with running(name, command, without_secrets(environ) | OFFLINE | threads, "/health") as server:
        yield Side(_reference_name(reference, dtype), server.url, spec.model, server.pid)


def torch_variant(spec: ModelSpec, dtype: str) -> ModelSpec:
    """`spec` with the torch engine. Raises CannotCompare for an unknown dtype."""
    try:
        return spec.model_copy(update={"engine": Engine.TORCH, "dtype": Dtype(dtype)})
    except ValueError:
        raise CannotCompare(f"The torch engine has no dtype {dtype!r}.") from None


def _reference_name(reference: Reference, dtype: str) -> str:
    return reference.library if dtype == "auto" else f"{reference.library} {dtype}"


def _engine(url: str) -> str:
    """Engine and device from the server's `/v1/models`."""
    try:
        entry = httpx.get(f"{url}/v1/models", trust_env=False, timeout=10).json()["data"][0]
        return f"{entry['engine']} ({entry['device']})"
    except (httpx.HTTPError, ValueError, KeyError, IndexError, TypeError):
        return "server"
