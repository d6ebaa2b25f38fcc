"""Strategic merge of pod templates."""

from __future__ import annotations

from typing import Any

import pytest

from fleet_operator.resources.strategic_merge import PatchError, merge

BASE = {
    "metadata": {"labels": {"a": "1"}},
    "spec": {
        "containers": [{
            "name": "server", "image": "x", "env": [{"name": "A", "value": "1"}],
            "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}], "args": ["--one"],
        }],
        "tolerations": [{"key": "a"}],
    },
}  # fmt: skip


def patched(spec: dict[str, Any]) -> Any:
    return merge(BASE, {"spec": spec})["spec"]


@pytest.mark.parametrize(
    ("patch", "path", "expected"),
    [
        ({"hostNetwork": True}, ("hostNetwork",), True),
        ({"tolerations": [{"key": "b"}]}, ("tolerations",), [{"key": "b"}]),
        ({"tolerations": None}, ("tolerations",), None),
        ({"containers": [{"name": "server", "image": "y"}]}, ("containers", 0, "image"), "y"),
        ({"containers": [{"name": "server", "image": "y"}]}, ("containers", 0, "args"), ["--one"]),
        ({"containers": [{"name": "server", "args": ["--two"]}]}, ("containers", 0, "args"),
         ["--two"]),
        ({"containers": [{"name": "server", "env": [{"name": "B", "value": "2"}]}]},
         ("containers", 0, "env"), [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]),
        ({"containers": [{"name": "server", "env": [{"name": "A", "$patch": "delete"}]}]},
         ("containers", 0, "env"), []),
        ({"containers": [{"name": "server", "env": [{"$patch": "replace"}, {"name": "C"}]}]},
         ("containers", 0, "env"), [{"name": "C"}]),
        ({"containers": [{"name": "side", "image": "z"}]}, ("containers", 1),
         {"name": "side", "image": "z"}),
        ({"containers": [{"name": "server", "$patch": "replace", "image": "z"}]},
         ("containers", 0), {"name": "server", "image": "z"}),
        ({"securityContext": {"runAsUser": 5}}, ("securityContext",), {"runAsUser": 5}),
    ],
)  # fmt: skip
def test_merging(patch: dict[str, Any], path: tuple[Any, ...], expected: Any) -> None:
    found = patched(patch)
    for key in path:
        found = found[key] if isinstance(key, int) else found.get(key)
    assert found == expected


def test_the_base_is_not_changed() -> None:
    before = str(BASE)
    merge(BASE, {"spec": {"containers": [{"name": "server", "image": "y"}]}})
    assert str(BASE) == before


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        (
            {"containers": [{"image": "y"}]},
            "podTemplate.spec.containers: an item lacks its merge key 'name'",
        ),
        ({"$retainKeys": ["x"]}, r"podTemplate.spec: unknown directive \$retainKeys"),
        ({"$patch": "explode"}, r"podTemplate.spec: \$patch: unknown directive 'explode'"),
    ],
)
def test_patches_that_cannot_be_merged_are_refused(patch: dict[str, Any], message: str) -> None:
    with pytest.raises(PatchError, match=message):
        patched(patch)
