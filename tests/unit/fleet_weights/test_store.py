"""Names of folders, and where the store is."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet_contract.spec import ModelSpec
from fleet_weights.store import Store, default_root, folder_name


@pytest.mark.parametrize(
    ("environ", "root"),
    [
        ({}, "models"),
        ({"HF_HOME": "/cache"}, "/cache"),
        ({"MODELS_DIR": "/models", "HF_HOME": "/cache"}, "/models"),
        ({"MODELS_DIR": "", "HF_HOME": ""}, "models"),
    ],
)
def test_default_root(environ: dict[str, str], root: str) -> None:
    assert default_root(environ) == Path(root)


def test_home_is_expanded() -> None:
    assert default_root({"HF_HOME": "~/x"}) == Path.home() / "x"


def test_names_are_readable_and_differ_with_the_source() -> None:
    one = ModelSpec(model="BAAI/bge-m3", source="hf://BAAI/bge-m3@main")
    two = one.model_copy(update={"source": "hf://BAAI/bge-m3@v2"})
    assert folder_name(one).startswith("BAAI--bge-m3-")
    assert folder_name(one) != folder_name(two)


def test_buckets_of_one_name_in_two_stores_have_folders_of_their_own() -> None:
    def name(**fields: object) -> str:
        return folder_name(ModelSpec.model_validate({"model": "a/b", **fields}))

    source = "s3://weights/m"
    here, there = ({"endpoint": f"https://{host}.example.com"} for host in ("here", "there"))
    assert len({name(source=source, s3=s3) for s3 in (None, here, there)}) == 3
    assert name(source=source, s3={"region": "eu-1"}) == name(source=source)
    assert name(source="hf://a/b", s3=here) == name(source="hf://a/b")


def test_names_do_not_depend_on_runtime_settings() -> None:
    one = ModelSpec(model="a/b", source="hf://a/b", device="cpu")
    two = ModelSpec(model="a/b", source="hf://a/b", replicas=3)
    assert folder_name(one) == folder_name(two)


def test_no_model_id_leads_outside() -> None:
    store = Store(Path("/models"))
    for model in ("a/b", "a/../../b", "x:y", "a//b"):
        assert store.folder(ModelSpec(model=model)).parent == Path("/models")
