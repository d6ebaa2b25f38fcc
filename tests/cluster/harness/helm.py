"""Runs helm, built with Go, with its own home folder."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from harness.api import Json
from harness.binaries import program
from harness.paths import REPOSITORY

CHART = REPOSITORY / "charts" / "modelfleet"
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's parser, ten times as fast, if PyYAML was built with it."""


class HelmError(Exception):
    """helm failed; the message is its output."""


class Helm:
    """helm with its own home and, for commands that need a cluster, a kubeconfig."""

    def __init__(self, home: Path, kubeconfig: Path | None = None) -> None:
        self._program = program("helm")
        self._environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("HELM_", "KUBE"))},
            "HELM_CACHE_HOME": str(home / "cache"),
            "HELM_CONFIG_HOME": str(home / "config"),
            "HELM_DATA_HOME": str(home / "data"),
            "KUBECONFIG": str(kubeconfig or os.devnull),
        }
        self._rendered: dict[tuple[str | bytes, ...], str] = {}

    def __call__(self, *arguments: str, timeout: float = 600) -> str:
        """Run helm and return its output. Raises HelmError."""
        done = subprocess.run(
            [str(self._program), *arguments],
            capture_output=True,
            text=True,
            timeout=timeout,
            env=self._environ,
        )
        if done.returncode != 0:
            raise HelmError(f"{done.stderr.strip()}\n{done.stdout.strip()}".strip())
        return done.stdout

    def lint(self, values: Json | None = None) -> str:
        """Run `helm lint --strict`. Raises HelmError."""
        return self("lint", "--strict", str(CHART), *set_arguments(values))

    def template(
        self,
        values: Json | None = None,
        namespace: str = "fleet",
        files: Sequence[Path] = (),
    ) -> list[Json]:
        """Render the objects of a release named `fleet`, with hooks. Raises HelmError.

        `files` are files of values. helm runs once for the same values: tests change no template.
        """
        given = [f"--values={path}" for path in files]
        arguments = ["-n", namespace, *given, *set_arguments(values)]
        key: tuple[str | bytes, ...] = (*arguments, *(path.read_bytes() for path in files))
        if key not in self._rendered:
            self._rendered[key] = self("template", "fleet", str(CHART), *arguments)
        return parsed(self._rendered[key])

    def notes(self, values: Json | None = None) -> str:
        """What `helm install` shows of a release named `fleet`. Raises HelmError."""
        text = self("install", "fleet", str(CHART), "--dry-run=client", *set_arguments(values))
        return text.partition("\nNOTES:\n")[2]


def parsed(text: str) -> list[Json]:
    """The objects in YAML; empty documents are left out."""
    return [document for document in yaml.load_all(text, Loader=LOADER) if document]


def set_arguments(values: Json | None) -> list[str]:
    """Values as command-line arguments."""
    return [f"--set-json={name}={json.dumps(value)}" for name, value in (values or {}).items()]


def find(objects: list[Json], kind: str, name: str = "") -> Json:
    """The only object of a kind whose name ends with `name`."""
    found = [
        item for item in objects if item["kind"] == kind and item["metadata"]["name"].endswith(name)
    ]
    assert len(found) == 1, [item["metadata"]["name"] for item in found]
    return found[0]


def release_models(objects: list[Json]) -> list[Json]:
    """The InferenceModels that the operator creates from the release's ConfigMap."""
    found = [item for item in objects if item["metadata"]["name"] == "modelfleet-models"]
    return [
        yaml.safe_load(text)
        for item in found
        if item["kind"] == "ConfigMap"
        for text in item["data"].values()
    ]


def pod_specs(objects: list[Json]) -> dict[str, Any]:
    """The pod specs of all objects by `Kind/name`."""
    found = {}
    for item in objects:
        spec = item.get("spec", {})
        if item["kind"] == "Pod":
            found[f"Pod/{item['metadata']['name']}"] = spec
        elif isinstance(spec, dict) and "template" in spec:
            found[f"{item['kind']}/{item['metadata']['name']}"] = spec["template"]["spec"]
    return found
