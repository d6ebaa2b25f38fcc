"""`modelfleet explain`: the complete spec and the pod of a manifest, and the nodes that can run it.

Reads the cluster through kubectl, and so supports all of its authentication methods.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

OPERATOR = "app.kubernetes.io/name=modelfleet,app.kubernetes.io/component=operator"
SECONDS = 60


class CannotRead(Exception):
    """kubectl is missing or failed; the message is kubectl's."""


@app.command()
def explain(
    name: Annotated[str | None, typer.Argument(help="Name of an InferenceModel.")] = None,
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Its namespace.")] = "",
    file: Annotated[
        Path | None, typer.Option("--filename", "-f", help="Explain the manifests in a file.")
    ] = None,
    offline: Annotated[bool, typer.Option(help="Do not access the cluster; requires -f.")] = False,
) -> None:
    """Show the origin of each field of an InferenceModel, its pod, and the nodes that can run it.

    Without a cluster only the catalog is used. Settings of the operator are read from its
    Deployment, or from the environment.
    """
    if (name is None) == (file is None) or (offline and file is None):
        print("modelfleet explain: give either a name or -f FILE", file=sys.stderr)
        raise typer.Exit(2)
    if name is not None and "/" in name:
        print(
            f"modelfleet explain: {name} is not the name of an InferenceModel; `kubectl get "
            "inferencemodels` lists them, and their models",
            file=sys.stderr,
        )
        raise typer.Exit(2)
    try:
        for text in _explanations(name, namespace, file, offline):
            print(text)
    except BrokenPipeError as error:  # the reader of the pipe is gone, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from error
    except (CannotRead, ValueError, OSError) as error:
        print(f"modelfleet explain: {error}", file=sys.stderr)
        raise typer.Exit(1) from error


def _explanations(name: str | None, namespace: str, file: Path | None, offline: bool) -> list[str]:
    from fleet_contract import manifests
    from fleet_operator.commands.explain import explain as explained
    from fleet_operator.commands.explain import render

    space = ["-n", namespace] if namespace else []
    if file is not None:
        models = [{"metadata": {"name": one.name}, "spec": one.spec}
                  for one in manifests.load(file)]  # fmt: skip
    else:
        models = [kubectl("get", "inferencemodel", str(name), *space)]
    settings, sources, cluster = _surroundings(offline)
    return [render(explained(model, sources, settings, cluster)) for model in models]


def _surroundings(offline: bool) -> tuple[Any, Any, Any]:
    """Settings of the operator, catalog and profiles, nodes; as far as they can be read."""
    from fleet_contract import catalog
    from fleet_operator.resources import profiles
    from fleet_operator.resources.resolve import Sources
    from fleet_operator.settings import OperatorSettings

    environ, where = dict(os.environ), None
    if not offline:
        environ, where = operator_environment(_optional("get", "deployments", "-A", "-l", OPERATOR))
        environ = environ or dict(os.environ)
    settings = OperatorSettings.read({**environ, "CATALOG": ""})
    found: Mapping[str, Any] = {}
    if not offline:
        own = where or settings.own_namespace
        found = _optional("get", "configmap", settings.profiles_configmap, "-n", own)
    read, problems = profiles.parse(found.get("data") or {})
    sources = Sources(catalog.load(), read, problems, vllm_images=settings.vllm_images)
    return settings, sources, None if offline else _cluster()


def operator_environment(deployments: Mapping[str, Any]) -> tuple[dict[str, str], str | None]:
    """Plain environment variables of the operator's container, and its namespace."""
    for item in deployments.get("items") or ():
        containers = item["spec"]["template"]["spec"]["containers"]
        values = {
            one["name"]: one["value"]
            for container in containers
            for one in container.get("env") or ()
            if "value" in one
        }
        return values, item["metadata"]["namespace"]
    return {}, None


def _cluster() -> Any:
    from fleet_operator.decide.rollout_strategy import Cluster
    from fleet_operator.quantity import add
    from fleet_operator.resources.views import NodeView, PodView

    nodes, pods = _optional("get", "nodes"), _optional("get", "pods", "-A")
    if "items" not in nodes or "items" not in pods:
        return None
    used: dict[str, dict[str, int]] = {}
    for raw in pods["items"]:
        pod = PodView.parse(raw)
        if pod.node and not pod.terminal:
            add(used.setdefault(pod.node, {}), {"pods": 1000, **pod.requests})
    return Cluster([NodeView.parse(raw) for raw in nodes["items"]], used)


def _optional(*arguments: str) -> Mapping[str, Any]:
    """Like `kubectl`, but {} where the object is missing or access is forbidden."""
    try:
        return kubectl(*arguments)
    except CannotRead:
        return {}


def kubectl(*arguments: str) -> dict[str, Any]:
    """The JSON kubectl prints. Raises CannotRead."""
    program = shutil.which("kubectl")
    if program is None:
        raise CannotRead("kubectl is not installed; -f FILE --offline works without it")
    done = subprocess.run(  # noqa: S603  (a fixed program, without a shell)
        [program, *arguments, "-o", "json"], capture_output=True, text=True, timeout=SECONDS
    )
    if done.returncode != 0:
        raise CannotRead(done.stderr.strip() or f"kubectl exited with status {done.returncode}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found
