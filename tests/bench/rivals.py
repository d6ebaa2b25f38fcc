"""Installs and starts other routers in front of a stub.

Each is installed from its release into its own virtual environment in the cache, unless its command
is given. None writes a log line for each request, unlike this project's router, which is to their
advantage.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import stack
from pipe import MODEL


@dataclass(frozen=True, slots=True)
class Rival:
    """`requirements` are the packages to install, `command` is the program, and `start` runs it in
    front of a stub at an address.
    """

    name: str
    command: str
    requirements: tuple[str, ...]
    start: Callable[[str, str], AbstractContextManager[stack.Running]]


def installed(rival: Rival, source: str | None = None) -> str:
    """The program of a rival, installed if missing; `source` is a folder or address to install it
    from instead.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "modelfleet" / "bench" / rival.name
    program = folder / "bin" / rival.command
    if not program.exists():
        print(f"installing {rival.name} into {folder}", file=sys.stderr)
        wanted = [*rival.requirements[:-1], source or rival.requirements[-1]]
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        # production-stack declares Python 3.12; it runs on 3.11 too.
        pip = [str(folder / "bin" / "pip"), "install", "--quiet", "--ignore-requires-python"]
        environ = {**os.environ, "SETUPTOOLS_SCM_PRETEND_VERSION": "0"}
        subprocess.run([*pip, *wanted], check=True, env=environ)
    return str(program)


@contextmanager
def litellm(program: str, stub: str) -> Iterator[stack.Running]:
    """With the recommended settings for production, and one worker."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.yaml"
        place = {"model": f"openai/{MODEL}", "api_base": f"{stub}/v1", "api_key": "none"}
        entries = [{"model_name": MODEL, "litellm_params": place}]
        settings = {"set_verbose": False, "request_timeout": 600}
        config.write_text(json.dumps({"model_list": entries, "litellm_settings": settings}))
        port = stack.free_port()
        command = [program, "--config", str(config), "--host", "127.0.0.1", "--port", str(port),
                   "--num_workers", "1"]  # fmt: skip
        environ = {
            "LITELLM_MODE": "PRODUCTION", "LITELLM_LOG": "ERROR", "LITELLM_TELEMETRY": "False",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",  # on the loopback only
        }  # fmt: skip
        with stack.process(command, environ) as group:
            url = f"http://127.0.0.1:{port}"
            stack.await_status(f"{url}/health/liveliness", seconds=120)
            yield stack.Running(url, group)


@contextmanager
def production_stack(program: str, stub: str) -> Iterator[stack.Running]:
    """As its own scripts start it, without logs."""
    port = stack.free_port()
    command = [
        program, "--host", "127.0.0.1", "--port", str(port), "--service-discovery", "static",
        "--static-backends", stub, "--static-models", MODEL,
        "--routing-logic", "roundrobin", "--log-level", "error",
    ]  # fmt: skip
    with stack.process(command) as group:
        url = f"http://127.0.0.1:{port}"
        stack.await_status(f"{url}/health", seconds=120)
        yield stack.Running(url, group)


@contextmanager
def vllm_router(program: str, stub: str) -> Iterator[stack.Running]:
    """The vLLM project's other router, in Rust; uses all cores."""
    port = stack.free_port()
    command = [
        program, "--host", "127.0.0.1", "--port", str(port), "--worker-urls", stub,
        "--policy", "round_robin", "--log-level", "error",
        "--prometheus-port", str(stack.free_port()),
    ]  # fmt: skip
    with stack.process(command) as group:
        url = f"http://127.0.0.1:{port}"
        stack.await_status(f"{url}/health", seconds=120)
        yield stack.Running(url, group)


RIVALS = (
    Rival("litellm", "litellm", ("litellm[proxy]",), litellm),
    Rival(
        "production-stack",
        "vllm-router",
        # The first two are not among its requirements, but make uvicorn faster if installed.
        ("uvloop", "httptools", "vllm-router @ git+https://github.com/vllm-project/production-stack"
         "@a6c01db05f65f556235413ba8dbcfb0c01132fff"),
        production_stack,
    ),
    Rival("vllm-router", "vllm-router", ("vllm-router",), vllm_router),
)  # fmt: skip
