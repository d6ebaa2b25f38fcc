"""docs/models.md and the facts it is generated from."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from fleet_cli import models_page
from fleet_contract import catalog
from fleet_contract.spec import ModelSpec
from fleet_prepare.machine import Machine

ROOT = Path(__file__).parents[3]
KNOWN = models_page.read()


def test_facts_are_those_of_the_catalog() -> None:
    specs = catalog.load()
    assert KNOWN.models.keys() == specs.keys()
    for model, facts in KNOWN.models.items():
        assert facts.family in KNOWN.families, model
        assert facts.proof in KNOWN.levels, model
        assert facts.files in KNOWN.files, model
        converts = "converted" in KNOWN.families[facts.family].cpu
        assert (facts.converted is not None) == converts, model


def test_the_requested_disk_holds_download_and_copy() -> None:
    for model, spec in catalog.load().items():
        facts = KNOWN.models[model]
        requested = spec.resources.requests.get("ephemeral-storage")
        if facts.files == "packages":
            continue
        assert requested is not None, model
        needed = (facts.download + (facts.converted or 0)) * 1e9
        assert needed < int(requested.removesuffix("Gi")) * 1024**3, model


def test_the_memory_allowed_holds_the_weights() -> None:
    """Of encoders in 32 bits, of chat and speech models in 8 with room for caches."""
    for model, spec in catalog.load().items():
        facts = KNOWN.models[model]
        limit = int(spec.resources.limits["memory"].removesuffix("Gi")) * 1024**3
        assert 1.5 * (facts.converted or facts.download) * 1e9 < limit, model


def test_every_proof_is_a_test_of_this_project() -> None:
    for family in KNOWN.families.values():
        for path in family.tests:
            assert (ROOT / path).is_file(), path


def test_listings_are_as_confirmed_as_they_were_recorded() -> None:
    listings = json.loads((ROOT / "tests/data/hub_listings.json").read_text())["repositories"]
    for model, facts in KNOWN.models.items():
        assert facts.files == listings.get(model, {"confidence": "packages"})["confidence"], model


def test_an_entry_without_facts_is_named() -> None:
    with pytest.raises(ValueError, match="lacks acme/x"):
        models_page.markdown([ModelSpec(model="acme/x")], KNOWN)


def test_facts_are_packaged_in_the_wheel() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert models_page.FACTS in project["tool"]["setuptools"]["package-data"]["fleet_cli"]


CPU = Machine("cpu", has_torch=False)
GPU = Machine("cuda", has_torch=True, torch_cuda=True, has_cublas=True)


@pytest.mark.parametrize(
    ("model", "machine", "engine"),
    [
        ("openai/whisper-tiny", CPU, "CTranslate2, converted to int8"),
        ("openai/whisper-tiny", GPU, "CTranslate2, converted to float16"),
        ("openai/whisper-tiny", replace(GPU, has_cublas=False), "CTranslate2, converted to int8"),
        ("Qwen/Qwen3-0.6B", CPU, "OpenVINO, converted to int8"),
        ("Qwen/Qwen3-0.6B", GPU, "torch, bfloat16"),
        ("Qwen/Qwen3-0.6B", replace(GPU, torch_cuda=False), "OpenVINO, converted to int8"),
        ("Qwen/Qwen3-0.6B", Machine("mps", has_torch=False), "OpenVINO, converted to int8"),
        ("Qwen/Qwen3-VL-2B-Instruct", CPU, "torch, bfloat16 or float32 (not installed)"),
        ("acme/own", CPU, None),
    ],
)
def test_the_engine_on_a_machine(model: str, machine: Machine, engine: str | None) -> None:
    spec = catalog.load().get(model) or ModelSpec(model=model)
    assert models_page.engine_on(spec, KNOWN, machine) == engine
