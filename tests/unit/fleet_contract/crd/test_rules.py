"""The validation rules, evaluated on resources."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cel
import pytest

from fleet_contract.crd.rules import NAME_LENGTH, RULES

SHA = "0" * 64
POOL = {"endpointPickerRef": {"name": "epp"}}

LORA = {"name": "sql", "source": "hf://org/sql"}


def resource(name: str = "m", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"model": "a/b", **spec}}


def broken(new: dict[str, Any], old: dict[str, Any] | None = None) -> list[str]:
    """Messages of the rules that `new` violates; transition rules only with `old`."""
    found = []
    for path, rule, message in RULES:
        if "oldSelf" in rule and old is None:
            continue
        before = list(values(old, path)) if old is not None else []
        for place, value in enumerate(values(new, path)):
            names = {"self": value}
            if "oldSelf" in rule:
                names["oldSelf"] = before[place]
            if not cel.evaluate(rule, names):
                found.append(message)
    return found


def values(root: Any, path: str) -> Iterator[Any]:
    """The values at a path such as `spec.golden[]`; none where a part of it is missing."""
    head, _, rest = path.partition(".")
    if not head:
        yield root
        return
    name = head.removesuffix("[]")
    if name in root:
        for item in root[name] if head.endswith("[]") else [root[name]]:
            yield from values(item, rest)


ACCEPTED: list[dict[str, Any]] = [
    {},
    {"name": "a"},
    {"name": "a-1"},
    {"name": "a" * NAME_LENGTH},
    {"minReplicas": 2, "maxReplicas": 2},
    {"minReplicas": 0, "maxReplicas": 1},
    {"minReplicas": 2},
    {"maxReplicas": 2},
    {"aliases": ["c", "d"]},
    {"engine": "remote", "remote": {"address": "http://x"}},
    {"engine": "custom", "handler": "a.B"},
    {"engine": "container", "image": "i"},
    {"engine": "container", "container": {"image": "i"}},
    {"engine": "openvino"},
    {"vision": True},
    {"vision": True, "task": "chat"},
    {"vision": False, "task": "embedding"},
    {"adapters": [LORA]},
    {"adapters": [LORA], "engine": "vllm", "task": "chat"},
    {"adapters": [], "engine": "torch", "task": "embedding"},
    {"speculative": {"promptLookup": True}},
    {"speculative": {"promptLookup": False, "tokens": 3}, "task": "rerank"},
    {"fallback": "c/d"},
    {"inferencePool": POOL},
    {"inferencePool": POOL, "engine": "vllm", "replicas": 2},
    {"scaleToZeroAfter": 60, "targetInFlight": 4, "yieldsAfter": 0},
    {"source": "hf://a"},
    {"source": "pvc://a/b"},
    {"source": "file:///a"},
    {"source": "pypi://a==1/b"},
    {"source": "https://h/f", "sha256": SHA},
    {"envFrom": [{"secretRef": {"name": "s"}}, {"configMapRef": {"name": "c"}}]},
    {"golden": [{"prompt": "x", "contains": "y"}, {"similar": ["a", "b"]}]},
    {"golden": [{"prompt": "x", "contains": "y", "similar": []}]},
    {"golden": [{"prompt": "x", "toolCall": {"name": "f", "arguments": {"a": [1]}}}]},
    {"golden": [{"prompt": "x", "matches": {"schema": {"type": "object"}}, "contains": "y"}]},
]


@pytest.mark.parametrize("spec", ACCEPTED, ids=str)
def test_specs_that_no_rule_refuses(spec: dict[str, Any]) -> None:
    assert broken(resource(**spec)) == []


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"name": "7b"}, "metadata.name must be lower-case"),
    ({"name": "a."}, "metadata.name must be lower-case"),
    ({"name": "a-"}, "metadata.name must be lower-case"),
    ({"name": "a" * (NAME_LENGTH + 1)}, "metadata.name must be lower-case"),
    ({"aliases": ["c", "a/b"]}, "aliases must differ from model"),
    ({"minReplicas": 3, "maxReplicas": 2}, "minReplicas must not exceed maxReplicas"),
    ({"engine": "remote"}, "engine remote needs remote.address"),
    ({"engine": "custom"}, "engine custom needs a handler"),
    ({"engine": "container"}, "engine container needs container.image"),
    ({"engine": "container", "container": {"port": 1}}, "engine container needs container.image"),
    ({"vision": True, "task": "rerank"}, "vision: only a chat model reads images"),
    ({"adapters": [LORA], "task": "rerank"}, "adapters: only a chat model"),
    ({"adapters": [LORA], "engine": "openvino"}, "adapters: engines that load them"),
    ({"speculative": {"promptLookup": True}, "task": "rerank"}, "speculative: only a chat model"),
    (
        {"speculative": {"draft": {"source": "hf://o/d"}}, "task": "speech"},
        "speculative: only a chat model",
    ),
    ({"adapters": [{"name": "a", "source": "https://h/f"}]}, "a source of https:// needs sha256"),
    ({"speculative": {"draft": {"source": "https://h/f"}}}, "a source of https:// needs sha256"),
    (
        {"inferencePool": POOL, "engine": "remote", "remote": {"address": "http://x"}},
        "inferencePool: a model with engine remote has no pods",
    ),
    ({"inferencePool": POOL, "scaleToZeroAfter": 60}, "inferencePool: scaleToZeroAfter"),
    ({"inferencePool": POOL, "targetInFlight": 4}, "inferencePool: scaleToZeroAfter"),
    ({"inferencePool": POOL, "yieldsAfter": 0}, "inferencePool: scaleToZeroAfter"),
    ({"fallback": "a/b"}, "fallback must name another model"),
    ({"source": "ftp://x"}, "source must begin with"),
    ({"source": "hf://"}, "source must begin with"),
    ({"source": "x hf://a"}, "source must begin with"),
    ({"source": "https://h/f"}, "a source of https:// needs sha256"),
    ({"envFrom": [{"prefix": "A_"}]}, "envFrom needs either secretRef or configMapRef"),
    ({"golden": [{"prompt": "x", "contains": "y", "similar": ["a", "b"]}]}, "a golden check has"),
    ({"golden": [{"prompt": "x"}]}, "a golden check with a prompt needs contains, toolCall"),
    (
        {"golden": [{"prompt": "x", "toolCall": {"name": "f"}, "contains": "y"}]},
        "a golden check with toolCall has neither",
    ),
    ({"golden": [{"similar": ["a"]}]}, "similar needs two texts"),
]


@pytest.mark.parametrize(("spec", "message"), REFUSED, ids=str)
def test_specs_that_a_rule_refuses(spec: dict[str, Any], message: str) -> None:
    (found,) = broken(resource(**spec))
    assert found.startswith(message)


def test_an_empty_golden_check_is_refused_once() -> None:
    found = broken(resource(golden=[{"minCosine": 0.5}]))
    assert [message.split(" ", 3)[:3] for message in found] == [["a", "golden", "check"]]


def test_the_model_cannot_change() -> None:
    assert broken(resource(task="chat"), resource()) == []
    (found,) = broken(resource(model="c/d"), resource())
    assert found.startswith("model is immutable")


def test_every_rule_has_a_resource_that_it_refuses() -> None:
    tested = {found for spec, _ in REFUSED for found in broken(resource(**spec))}
    rest = {rule.message for rule in RULES} - tested
    assert [message.split(":")[0] for message in rest] == ["model is immutable"]
