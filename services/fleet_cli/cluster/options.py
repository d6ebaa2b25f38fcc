"""Options by which commands use a cluster instead of the fleet of this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

ENV_CLUSTER = "MODELFLEET_CLUSTER"
"""Set by the kubectl plugin: commands use the cluster where no option is given."""

Cluster = Annotated[
    bool,
    typer.Option("--cluster/--local", envvar=ENV_CLUSTER, help="Use the cluster of the kubeconfig.",
                 show_envvar=False),
]  # fmt: skip
Namespace = Annotated[
    str | None,
    typer.Option("--namespace", "-n", help="Namespace on the cluster; the context's by default."),
]
AllNamespaces = Annotated[
    bool, typer.Option("--all-namespaces", "-A", help="All namespaces of the cluster.")
]
Context = Annotated[str | None, typer.Option(help="Context of the kubeconfig.")]
Kubeconfig = Annotated[Path | None, typer.Option(help="The kubeconfig (KUBECONFIG).")]


@dataclass(frozen=True, slots=True)
class Place:
    """Which cluster; `namespace` None is that of the context, "" all namespaces."""

    kubeconfig: Path | None = None
    context: str | None = None
    namespace: str | None = None

    def environ(self, environ: Mapping[str, str]) -> dict[str, str]:
        """`environ` with the kubeconfig of the option."""
        named = {"KUBECONFIG": str(self.kubeconfig)} if self.kubeconfig is not None else {}
        return {**environ, **named}


def place_of(
    cluster: bool,
    namespace: str | None,
    context: str | None,
    kubeconfig: Path | None,
    *,
    all_namespaces: bool = False,
) -> Place | None:
    """The cluster of the options, None for the fleet of this machine: any of them means a
    cluster."""
    if not (cluster or all_namespaces or namespace or context or kubeconfig):
        return None
    return Place(kubeconfig, context, "" if all_namespaces else namespace)
