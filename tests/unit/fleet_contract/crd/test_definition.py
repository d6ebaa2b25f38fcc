"""The custom resource definition: the generator's rules, and that the committed file is fresh."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import Field

from fleet_contract.crd import definition as crd
from fleet_contract.crd.rules import RULES
from fleet_contract.crd.schema import CrdError, structural
from fleet_contract.pod.container import EnvValue
from fleet_contract.spec import ModelSpec
from fleet_contract.spec_base import SpecPart

ROOT = Path(__file__).parents[4]


class Colour(StrEnum):
    """A colour."""

    RED = "red"


class Inner(SpecPart):
    """A block."""

    size: int = Field(default=3, ge=1)
    """How big."""


class Outer(SpecPart):
    """The whole."""

    name: str = Field(min_length=1)
    """What it is
    called."""
    colour: Colour = Colour.RED
    """Its colour."""
    block: Inner = Field(default_factory=Inner)
    """One block."""
    blocks: list[Inner] = Field(default_factory=list, max_length=2)
    """Blocks."""
    ratio: float | None = Field(default=None, gt=0, le=1)
    """A ratio."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Labels."""
    anything: dict[str, Any] | None = None
    """A patch."""
    env: dict[str, EnvValue] = Field(default_factory=dict)
    """Variables."""


def test_schema_of_a_class_compared_whole() -> None:
    assert structural(Outer) == {
        "description": "The whole.",
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": {"description": "What it is called.", "type": "string", "minLength": 1},
            "colour": {
                "description": "Its colour. Default: red.",
                "type": "string",
                "enum": ["red"],
            },
            "block": {
                "description": "One block.",
                "type": "object",
                "properties": {
                    "size": {
                        "description": "How big. Default: 3.",
                        "type": "integer",
                        "minimum": 1,
                        "format": "int64",
                    }
                },
            },
            "blocks": {
                "description": "Blocks.",
                "type": "array",
                "maxItems": 2,
                "items": {
                    "description": "A block.",
                    "type": "object",
                    "properties": {
                        "size": {
                            "description": "How big.",
                            "type": "integer",
                            "minimum": 1,
                            "format": "int64",
                            "default": 3,
                        }
                    },
                },
            },
            "ratio": {
                "description": "A ratio.",
                "type": "number",
                "minimum": 0,
                "exclusiveMinimum": True,
                "maximum": 1,
            },
            "labels": {
                "description": "Labels.",
                "type": "object",
                "additionalProperties": {"type": "string"},
            },
            "anything": {
                "description": "A patch.",
                "type": "object",
                "x-kubernetes-preserve-unknown-fields": True,
            },
            "env": {
                "description": "Variables.",
                "type": "object",
                "additionalProperties": {"x-kubernetes-preserve-unknown-fields": True},
            },
        },
    }


class TwoTypes(SpecPart):
    value: int | str = 1


class Recursive(SpecPart):
    children: list[Recursive] = Field(default_factory=list)


class Lookahead(SpecPart):
    name: Annotated[str, Field(json_schema_extra={"pattern": "^(?!x)"})] = ""


class Pair(SpecPart):
    pair: tuple[int, int] = (1, 2)


class Unbounded(SpecPart):
    value: Any = None


class Multiple(SpecPart):
    value: int = Field(default=2, multiple_of=2)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (TwoTypes, "TwoTypes.value: a field of several types"),
        (Recursive, "Recursive.children[]: Recursive is recursive"),
        (Lookahead, "Lookahead.name: the pattern '^(?!x)' is not RE2"),
        (Pair, "Pair.pair: 'prefixItems' cannot be expressed"),
        (Unbounded, "Unbounded.value: has no type"),
        (Multiple, "Multiple.value: 'multipleOf' cannot be expressed"),
    ],
)
def test_unsupported_annotations_are_refused(model: type[SpecPart], message: str) -> None:
    with pytest.raises(CrdError) as caught:
        structural(model)
    assert str(caught.value).startswith(message)


def test_every_field_of_the_spec_is_in_the_schema_with_its_docstring() -> None:
    properties = crd.schema()["properties"]["spec"]["properties"]
    assert set(properties) == {field.alias for field in ModelSpec.model_fields.values()}
    assert all(properties[name]["description"] for name in properties)


def test_only_the_model_is_required_and_only_replicas_has_a_default() -> None:
    spec = crd.schema()["properties"]["spec"]
    assert spec["required"] == ["model"]
    assert [name for name, field in spec["properties"].items() if "default" in field] == [
        "replicas"
    ]

    def defaults(part: dict[str, Any], path: str) -> list[str]:
        found = [path] if "default" in part else []
        for name, field in part.get("properties", {}).items():
            found += defaults(field, f"{path}.{name}")
        return found

    assert defaults(spec, "spec") == ["spec.replicas"]


def test_rules_are_attached_at_their_paths() -> None:
    schema = crd.schema()
    for rule in RULES:
        rules = crd.at(schema, rule.path)["x-kubernetes-validations"]
        assert {"rule": rule.rule, "message": rule.message} in rules


def test_a_rule_for_a_missing_field_is_refused() -> None:
    with pytest.raises(CrdError, match=r"spec\.nothing: no such field"):
        crd.at(crd.schema(), "spec.nothing")


def test_the_committed_file_is_fresh() -> None:
    committed = (ROOT / "crds" / crd.FILE).read_text(encoding="utf-8")
    assert committed == crd.render(), "run `modelfleet crd --write`"
