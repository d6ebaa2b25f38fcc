"""The addresses of the catalog, compared with the listings of the public repositories.

tests/data/hub_listings.json says where its listings come from.
"""

from __future__ import annotations

import json
import re
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from fleet_cli import models_page
from fleet_contract import catalog
from fleet_contract.spec import ModelSpec
from fleet_prepare import choose as engines
from fleet_prepare.errors import CannotServe
from fleet_prepare.machine import Machine
from fleet_prepare.model_files import ModelFiles
from fleet_weights.address import Hub, parse
from fleet_weights.allowed import PICKLE_SUFFIXES
from fleet_weights.hub.selection import WEIGHT_SUFFIXES, WeightsFormat, choose

LISTINGS: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "data" / "hub_listings.json").read_text()
)["repositories"]
KNOWN = catalog.load()
FACTS = models_page.read()
ON_THE_HUB = [spec for spec in KNOWN.values() if (spec.source or "").startswith("hf://")]
REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
IDS = [spec.model for spec in ON_THE_HUB]


def address(spec: ModelSpec) -> Hub:
    found = parse(spec.source or "")
    assert isinstance(found, Hub)
    return found


def fetched(spec: ModelSpec) -> list[str]:
    return choose(LISTINGS[address(spec).repo]["files"], spec.source or "")


@pytest.mark.parametrize("spec", ON_THE_HUB, ids=IDS)
def test_an_address_names_a_known_repository(spec: ModelSpec) -> None:
    """With its organisation: the hub has moved all models without one."""
    found = address(spec)
    assert REPOSITORY.fullmatch(found.repo)
    assert (found.revision, found.path) == ("main", "")
    assert found.repo in LISTINGS
    assert spec.model == found.repo


def test_every_listing_belongs_to_an_entry() -> None:
    assert LISTINGS.keys() == {address(spec).repo for spec in ON_THE_HUB}
    for listing in LISTINGS.values():
        assert listing["confidence"] in ("files", "weights", "memory")
        assert listing["evidence"]
        assert listing["documents"]["config.json"]["model_type"]


@pytest.mark.parametrize("spec", ON_THE_HUB, ids=IDS)
def test_weights_config_and_tokenizer_are_fetched(spec: ModelSpec) -> None:
    names = set(fetched(spec))
    assert "config.json" in names
    assert {"tokenizer.json"} <= names or {"vocab.json", "merges.txt"} <= names
    weights = {name for name in names if PurePosixPath(name).suffix in WEIGHT_SUFFIXES}
    assert weights
    if "model.safetensors.index.json" in names:
        shards = [name for name in LISTINGS[spec.model]["files"] if "-of-" in name]
        assert weights == set(shards)


@pytest.mark.parametrize("spec", ON_THE_HUB, ids=IDS)
def test_no_pickle_and_no_second_copy_is_fetched(spec: ModelSpec) -> None:
    names = fetched(spec)
    kinds = {PurePosixPath(name).suffix for name in names}
    assert not kinds & (PICKLE_SUFFIXES | {".py"})
    assert len(kinds & {".safetensors", ".onnx", ".gguf", ".xml"}) == 1
    assert not [name for name in names if ".fp32" in name and name.endswith(".safetensors")]


CPU = Machine("cpu", has_torch=False)
CUDA = Machine("cuda", has_torch=True)


def listed(spec: ModelSpec) -> ModelFiles:
    """The listing of a repository without its documentation."""
    listing = LISTINGS[address(spec).repo]
    return ModelFiles(frozenset(listing["files"]), listing["documents"], on_disk=False)


def described(chosen: engines.EngineChoice) -> str:
    """The choice as docs/models.md has it."""
    name = {"openvino": "OpenVINO", "ctranslate2": "CTranslate2"}[chosen.engine.value]
    if chosen.conversion is not None:
        return f"{name}, converted to {chosen.conversion.quantization}"
    return f"{name}, from ONNX" if chosen.kind is WeightsFormat.ONNX else name


@pytest.mark.parametrize("spec", ON_THE_HUB, ids=IDS)
def test_the_engine_on_a_cpu_without_torch(spec: ModelSpec) -> None:
    """Models that read images have none yet."""
    if spec.vision:
        with pytest.raises(CannotServe, match="torch"):
            engines.choose(spec, listed(spec), CPU)
        return
    chosen = engines.choose(spec, listed(spec), CPU)
    assert chosen.device == "cpu"
    assert described(chosen) == FACTS.families[FACTS.models[spec.model].family].cpu
    assert fetched(spec) == choose(LISTINGS[spec.model]["files"], spec.model, chosen.kind)


@pytest.mark.parametrize("spec", ON_THE_HUB, ids=IDS)
def test_the_engine_on_a_gpu(spec: ModelSpec) -> None:
    chosen = engines.choose(spec, listed(spec), CUDA)
    page = FACTS.families[FACTS.models[spec.model].family].gpu
    assert page.lower().startswith(chosen.engine.value)
    assert ("on the CPU" in page) == (chosen.device == "cpu")
