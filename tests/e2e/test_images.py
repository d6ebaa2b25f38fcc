"""The images that were built from the Dockerfiles: what they say of themselves, what is in them."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from harness import images
from harness.netns import Namespace

KINDS = ("operator", "router", "server", "client")
SERVING = ("operator", "router", "server")
MEGABYTES = 700
"""Goal for the server's CPU flavour, unpacked and without weights."""

Opened = Callable[[str], "Opening"]


class Opening:
    """An image's configuration, and names and sizes of the files in its layers."""

    def __init__(self, image: images.Image) -> None:
        with tarfile.open(image.archive) as archive:
            (manifest,) = json.loads(_read(archive, "manifest.json"))
            self.described: Any = json.loads(_read(archive, manifest["Config"]))
            self.config: Any = self.described["config"]
            self.files: dict[str, int] = {}
            for name in manifest["Layers"]:
                with tarfile.open(fileobj=archive.extractfile(name)) as layer:
                    self.files |= {one.name.removeprefix("./"): one.size for one in layer}


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    assert file is not None
    return file.read()


@pytest.fixture(scope="module")
def opened(fit_for_a_node: None, pod_network: Namespace) -> Opened:
    @cache
    def look(kind: str) -> Opening:
        with pod_network.outside():
            return Opening(images.build(kind))

    return look


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_nobody_and_says_what_it_is(opened: Opened, kind: str) -> None:
    config = opened(kind).config
    assert config["User"] == "65532:65532"
    labels = {name.rpartition(".")[2]: value for name, value in config["Labels"].items()}
    assert labels["title"] == f"modelfleet-{kind}"
    assert {"description", "licenses", "version", "revision"} <= labels.keys()
    assert config["Entrypoint"] == ["modelfleet"]


@pytest.mark.parametrize("kind", KINDS)
def test_it_says_how_its_health_is_asked_for(opened: Opened, kind: str) -> None:
    how = opened(kind).config["Healthcheck"]["Test"]
    assert how[0] == ("CMD" if kind in SERVING else "NONE")


@pytest.mark.parametrize("kind", KINDS)
def test_every_package_is_there_with_its_metadata_and_none_is_torch(
    opened: Opened, kind: str
) -> None:
    """What a bill of materials is made from."""
    files = opened(kind).files
    folders = {name.partition(".dist-info/")[0] for name in files if ".dist-info/" in name}
    packages = {folder.rpartition("/")[2].partition("-")[0].lower() for folder in folders}
    assert {"modelfleet", "pydantic", "httpx"} <= packages
    assert all(f"{folder}.dist-info/METADATA" in files for folder in folders)
    assert not packages & {"torch", "transformers", "nvidia"}


def test_the_servers_image_is_small(opened: Opened) -> None:
    unpacked = sum(opened("server").files.values())
    assert unpacked < MEGABYTES * 1_000_000
