"""Metadata and contents of the images built from the Dockerfiles."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from contextlib import nullcontext
from functools import cache
from typing import Any

import pytest

from harness import images
from harness.netns_hook import NETWORK

KINDS = ("operator", "router", "server", "client")
SERVING = ("operator", "router", "server")
MEGABYTES = 730
"""Limit for the server's CPU flavour, unpacked and without weights."""

ReadImage = Callable[[str], "ImageContents"]


class ImageContents:
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
def read_image(node_requirements: None, pytestconfig: pytest.Config) -> ReadImage:
    """Needs no program of Kubernetes, so that the images can be built while those are compiled."""

    @cache
    def read(kind: str) -> ImageContents:
        network = pytestconfig.stash.get(NETWORK, None)
        with network.host_network() if network is not None else nullcontext():
            return ImageContents(images.build(kind))

    return read


@pytest.mark.parametrize("kind", KINDS)
def test_user_labels_and_entrypoint(read_image: ReadImage, kind: str) -> None:
    config = read_image(kind).config
    assert config["User"] == "65532:65532"
    labels = {name.rpartition(".")[2]: value for name, value in config["Labels"].items()}
    assert labels["title"] == f"modelfleet-{kind}"
    assert {"description", "licenses", "version", "revision"} <= labels.keys()
    assert config["Entrypoint"] == ["modelfleet"]


@pytest.mark.parametrize("kind", KINDS)
def test_healthcheck(read_image: ReadImage, kind: str) -> None:
    how = read_image(kind).config["Healthcheck"]["Test"]
    assert how[0] == ("CMD" if kind in SERVING else "NONE")


@pytest.mark.parametrize("kind", KINDS)
def test_packages_have_metadata_and_exclude_torch(read_image: ReadImage, kind: str) -> None:
    """The metadata is the source of a bill of materials."""
    files = read_image(kind).files
    folders = {name.partition(".dist-info/")[0] for name in files if ".dist-info/" in name}
    packages = {folder.rpartition("/")[2].partition("-")[0].lower() for folder in folders}
    assert {"modelfleet", "pydantic", "httpx"} <= packages
    assert all(f"{folder}.dist-info/METADATA" in files for folder in folders)
    assert not packages & {"torch", "transformers", "nvidia"}


def test_the_servers_image_is_small(read_image: ReadImage) -> None:
    files = read_image("server").files
    plugins = {name.rpartition("/")[2] for name in files if "/libopenvino_intel_" in name}
    assert plugins == {"libopenvino_intel_cpu_plugin.so"}
    unpacked = sum(files.values())
    assert unpacked < MEGABYTES * 1_000_000
