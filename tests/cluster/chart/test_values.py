"""Every value of the chart appears where it belongs, and no pod lacks a bound or protection."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from chart.cases import CASES
from chart.places.apart import OFF, OTHERS
from chart.places.place import Place
from chart.places.together import PLACES
from harness.api import Json
from harness.helm import CHART, Helm, pod_specs


@pytest.fixture(scope="session")
def release(renderer: Helm) -> list[Json]:
    """With all values of PLACES."""
    return renderer.template({path: value for path, (value, _) in PLACES.items()})


@pytest.mark.parametrize("path", PLACES)
def test_a_value_appears_where_it_belongs(release: list[Json], path: str) -> None:
    value, places = PLACES[path]
    for place in places:
        assert at(release, place.at) == (value if place.found is ... else place.found), place.at


@pytest.mark.parametrize(("values", "places"), OTHERS, ids=[str([*one]) for one, _ in OTHERS])
def test_values_that_exclude_others(
    renderer: Helm, values: dict[str, Any], places: list[Place]
) -> None:
    objects = renderer.template(values)
    for place in places:
        assert at(objects, place.at) == place.found, place.at


@pytest.mark.parametrize(("path", "place"), OFF.items())
def test_what_can_be_left_out(renderer: Helm, path: str, place: str) -> None:
    assert at(renderer.template(), place) is not None
    with pytest.raises(StopIteration):
        at(renderer.template({path: False}), place)


def test_every_value_is_tested() -> None:
    tested = {*PLACES, *OFF, *(path for values, _ in OTHERS for path in values)}
    for path in leaves(yaml.safe_load((CHART / "values.yaml").read_text())):
        prefixes = [path[:i] for i, char in enumerate(path + ".") if char == "."]
        assert any(prefix in tested for prefix in prefixes), path


@pytest.mark.parametrize("case", CASES)
def test_every_pod_is_bounded_and_protected(renderer: Helm, case: str) -> None:
    specs = pod_specs(renderer.template(CASES[case]))
    assert len(specs) >= 3
    for name, spec in specs.items():
        assert spec["securityContext"] == {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        }, name
        for container in [*spec["containers"], *spec.get("initContainers", ())]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name
            assert "memory" in container["resources"]["limits"], name
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), name
        for volume in spec["volumes"]:
            assert "emptyDir" not in volume or volume["emptyDir"]["sizeLimit"], name


@pytest.mark.parametrize(
    ("values", "expected", "missing"),
    [
        ({}, "No API key is required: every pod", "WARNING"),
        ({}, "kubectl -n default apply -f - <<END", "The operator creates"),
        ({}, "for models of other users set `modelNamespace.name`", "WARNING"),
        ({"modelNamespace.name": "models"}, "kubectl -n models apply", "models of other users"),
        ({"apiKeys.existingSecret": "k"}, "Test every task", "API key is required"),
        ({"apiKeys.existingSecret": "k", "ingress.enabled": True}, "Test every task", "WARNING"),
        ({"ingress.enabled": True, "router.allowUnauthenticated": True},
         "WARNING: an Ingress may expose the router", "every pod"),
        ({"router.service.type": "NodePort", "router.allowUnauthenticated": True},
         "WARNING: a Service of type NodePort may expose", "every pod"),
        ({"router.remoteKeys": {"existingSecret": "s", "names": ["A"], "rules": []}},
         "can send A to any https address", "never"),
        ({"router.remoteKeys": {"existingSecret": "s", "names": ["A"],
                                "rules": [{"name": "A", "addresses": ["https://a.test"]}]}},
         "Test every task", "any https address"),
    ],
)  # fmt: skip
def test_the_notes_fit_the_values(
    renderer: Helm, values: dict[str, Any], expected: str, missing: str
) -> None:
    notes = renderer.notes(values)
    assert expected in notes
    assert missing not in notes


def at(objects: list[Json], place: str) -> Any:
    """What stands at a place (see `places`); None if nothing does."""
    where, *path = place.split(" ")
    kind, _, name = where.partition("/")
    # Where each namespace has one, the first.
    named = (item for item in objects if item["metadata"]["name"].endswith(name))
    found: Any = next(item for item in named if item["kind"] == kind)
    for key in path:
        if key == "yaml":
            found = yaml.safe_load(found)
        elif key.startswith(("env:", "from:")):
            spec = found["spec"]
            by_name = {one["name"]: one for one in spec["containers"][0]["env"]}
            field = "value" if key.startswith("env:") else "valueFrom"
            found = by_name.get(key.partition(":")[2], {}).get(field)
        elif isinstance(found, list):
            found = found[int(key)]
        else:
            found = found.get(key)
        if found is None:
            return None
    return found


def leaves(values: Any, path: str = "") -> Iterator[str]:
    """Dotted paths of all values; an empty mapping is one."""
    if not isinstance(values, dict) or not values:
        yield path
        return
    for name, value in values.items():
        yield from leaves(value, f"{path}.{name}" if path else name)
