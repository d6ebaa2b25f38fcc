"""Profiles of skaffold.yaml: they are valid, render the chart with their images, and sync files."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.api import Json
from harness.binaries import program
from harness.helm import find
from harness.paths import REPOSITORY
from harness.run import Run
from harness.skaffold import SOURCES

PROFILES = ("", "kind", "minikube", "gpu", "buildah")
Skaffold = Callable[..., str]


@pytest.fixture(scope="session")
def skaffold(run: Run, host_network: Callable[[], AbstractContextManager[None]]) -> Skaffold:
    """`skaffold(command, ...)` runs skaffold with the harness's helm and kubectl; its output."""
    with host_network():
        programs = [program(name) for name in ("skaffold", "helm", "kubectl")]
    environ = {
        **os.environ,
        "PATH": os.pathsep.join([*(str(p.parent) for p in programs), os.environ["PATH"]]),
        "HOME": str(run.path("skaffold", "x").parent),
        "KUBECONFIG": os.devnull,
        "SKAFFOLD_UPDATE_CHECK": "false",
        "SKAFFOLD_INTERACTIVE": "false",
        "SKAFFOLD_DEFAULT_REPO": "registry.example.com",
    }

    def call(*arguments: str, profile: str) -> str:
        chosen = ["-p", profile] if profile else []
        done = subprocess.run(
            [str(programs[0]), *arguments, *chosen],
            capture_output=True,
            text=True,
            timeout=300,
            cwd=REPOSITORY,
            env=environ,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return call


def config(skaffold: Skaffold, profile: str) -> Json:
    """skaffold.yaml as parsed by skaffold with a profile."""
    read: Json = yaml.safe_load(skaffold("diagnose", "--yaml-only", profile=profile))
    return read


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_renders_with_the_images_it_builds(skaffold: Skaffold, profile: str) -> None:
    text = skaffold("render", "--offline=true", "--digest-source=tag", profile=profile)
    objects = [document for document in yaml.safe_load_all(text) if document]
    pods = {
        name: find(objects, "Deployment", name)["spec"]["template"]["spec"]["containers"][0]
        for name in ("operator", "router")
    }
    environ = {one["name"]: one.get("value", "") for one in pods["operator"]["env"]}
    images = {name: pod["image"] for name, pod in pods.items()}
    images["server"] = environ["SERVER_IMAGE_CPU"]
    if profile == "gpu":
        images["server-cuda"] = environ["SERVER_IMAGE_CUDA"]
    built = {artifact["image"] for artifact in config(skaffold, profile)["build"]["artifacts"]}
    assert built == {f"modelfleet-{name}" for name in images}
    for name, image in images.items():
        assert image.startswith(f"registry.example.com/modelfleet-{name}:")


@pytest.mark.parametrize("profile", PROFILES)
def test_synced_files_are_in_the_image(skaffold: Skaffold, profile: str) -> None:
    for artifact in config(skaffold, profile)["build"]["artifacts"]:
        copied = sources(dockerfile(artifact))
        for rule in artifact["sync"]["manual"]:
            assert rule["dest"] == "/opt/modelfleet"
            folder = rule["src"].removesuffix("/**/*.py")
            assert folder in copied, artifact["image"]
            assert folder.startswith(rule["strip"])
            assert list((REPOSITORY / folder).rglob("*.py"))


def test_buildah_watches_all_files_of_the_image(skaffold: Skaffold) -> None:
    for artifact in config(skaffold, "buildah")["build"]["artifacts"]:
        watched = artifact["custom"]["dependencies"]["paths"]
        for source in {*sources(dockerfile(artifact)), "services/fleet_contract"} - {"LICENSE"}:
            is_watched = any(path == source or path.startswith(f"{source}/") for path in watched)
            assert is_watched, f"{artifact['image']}: {source}"


def test_the_copy_for_dev_has_all_files_of_the_images(skaffold: Skaffold) -> None:
    for artifact in config(skaffold, "buildah")["build"]["artifacts"]:
        for source in sources(dockerfile(artifact)):
            is_copied = any(source == one or source.startswith(f"{one}/") for one in SOURCES)
            assert is_copied, f"{artifact['image']}: {source}"


def dockerfile(artifact: Json) -> Path:
    if "custom" in artifact:
        paths: list[Any] = artifact["custom"]["dependencies"]["paths"]
        return REPOSITORY / next(path for path in paths if path.endswith("Dockerfile"))
    return REPOSITORY / artifact["docker"]["dockerfile"]


def sources(path: Path) -> set[str]:
    """The files that a Dockerfile copies from the repository."""
    return {
        word
        for line in path.read_text().splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for word in line.split()[1:-1]
    }
