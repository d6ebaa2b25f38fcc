"""`models` of the values: the operator creates them from the first install on, and owns them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from chart.release import Definition, Release
from harness.api import Api, Json
from harness.helm import CHART, Helm, find, parsed, release_models
from harness.models import model
from harness.operator_process import OperatorProcess
from harness.tenant import Tenant
from support.waiting import until

MODEL = ("modelfleet.dev/v1alpha1", "InferenceModel")
KNOWN = f"--api-versions={'/'.join(MODEL)}"
SMOLLM2 = "HuggingFaceTB/SmolLM2-135M-Instruct"
MODELS = {"smollm2": {"model": SMOLLM2}, "minilm": {"model": "sentence-transformers/all-MiniLM"}}
LABELS = {"app.kubernetes.io/name": "modelfleet", "app.kubernetes.io/instance": "fleet"}


@pytest.fixture
def models(api: Api) -> Iterator[Tenant]:
    """A namespace for models only."""
    with Tenant(api, "models") as mine:
        yield mine


def named(*names: str) -> Callable[[list[Json]], bool]:
    return lambda items: sorted(one["metadata"]["name"] for one in items) == sorted(names)


def test_models_are_part_of_the_first_install(
    release: Release, definition: Definition, models: Tenant,
    release_operator: Callable[[], OperatorProcess],
) -> None:  # fmt: skip
    definition.delete()
    values = {"modelNamespace.name": models.namespace}
    release("install", values={**values, "models": MODELS})
    operator = release_operator()
    models.wait_list(*MODEL, named(*MODELS))
    models.create(model("own"))
    uid = models.get(*MODEL, "smollm2")["metadata"]["uid"]

    # What autoscalers write is kept, also when another field changes.
    models.kubectl("scale", "im/smollm2", "--replicas=3")
    changed = {"smollm2": {"model": SMOLLM2, "aliases": ["small"]}}
    release("upgrade", values={**values, "models": changed})
    models.wait(*MODEL, "smollm2", lambda one: one and one["spec"].get("aliases") == ["small"])
    models.wait_list(*MODEL, named("smollm2", "own"))
    found = models.get(*MODEL, "smollm2")
    assert (found["metadata"]["uid"], found["spec"]["replicas"]) == (uid, 3)

    release("upgrade", values={**values, "models": {"own": {"model": "test/other"}, **changed}})
    refused = "modelfleet_operator_release_models_refused 1.0"
    until(lambda: refused in operator.metrics(), state=operator.log)
    assert models.get(*MODEL, "own")["spec"]["model"] == "test/own"

    operator.stop()  # the garbage collector deletes what the release owned
    release("uninstall", "--wait", "--timeout=180s")
    models.wait_list(*MODEL, named("own"))
    assert definition.is_fresh()


def test_objects_of_an_earlier_chart_stay_objects_of_the_release(
    release: Release, definition: Definition, release_operator: Callable[[], OperatorProcess]
) -> None:
    """helm would delete a model, with its volumes, that is not in the manifest any more."""
    tenant = release.tenant
    earlier = model("smollm2", model=SMOLLM2)
    earlier["metadata"]["labels"] = LABELS
    release("install", values={"extraObjects": [earlier]})
    uid = tenant.get(*MODEL, "smollm2")["metadata"]["uid"]
    operator = release_operator()

    values = {
        "modelNamespace.name": tenant.namespace,
        "models": {"smollm2": {"model": SMOLLM2, "aliases": ["small"]}, "new": {"model": "test/n"}},
    }
    release("upgrade", values=values)
    operator.stop()
    operator = release_operator()
    tenant.wait_list(*MODEL, named("smollm2", "new"))
    found = tenant.get(*MODEL, "smollm2")
    assert (found["metadata"]["uid"], found["spec"]["aliases"]) == (uid, ["small"])
    assert "ownerReferences" not in found["metadata"]
    release("rollback", "1")
    tenant.wait_list(*MODEL, named("smollm2"))
    assert tenant.get(*MODEL, "smollm2")["metadata"]["uid"] == uid

    # One that was deleted by hand is created by the operator, and helm leaves it alone.
    release("upgrade", values=values)
    tenant.api.delete(tenant.namespaced(earlier))
    owned = tenant.wait(*MODEL, "smollm2", lambda one: one and "ownerReferences" in one["metadata"])
    release("upgrade", values=values)
    assert tenant.get(*MODEL, "smollm2")["metadata"]["uid"] == owned["metadata"]["uid"]
    release("uninstall", "--wait", "--timeout=180s")
    tenant.wait_list(*MODEL, named())


def test_a_rendered_chart_with_models_is_applied_to_a_new_cluster(
    renderer: Helm, restricted: Tenant, definition: Definition, kinds: object, tmp_path: Path
) -> None:
    """In one step, although kubectl knows no kind that it is just creating."""
    definition.delete()
    values = {"modelNamespace.name": restricted.namespace, "models": MODELS}
    objects = renderer.template(values, restricted.namespace)
    assert named(*MODELS)(release_models(objects))
    # Without the kinds that kubectl read in earlier tests, and keeps for ten minutes.
    apply = ("apply", "--server-side", "-f", "-", f"--cache-dir={tmp_path}")
    restricted.kubectl(*apply, stdin=yaml.safe_dump_all(objects))
    definition.wait()


def test_a_renderer_that_knows_the_kind_renders_objects_too(renderer: Helm) -> None:
    """As Argo CD on a cluster with the definition, which would delete earlier ones otherwise."""
    values = f"--set=modelNamespace.name=models,models.a.model={SMOLLM2}"
    arguments = ("template", "fleet", str(CHART), "-n", "fleet", values)
    without = parsed(renderer(*arguments))
    objects = parsed(renderer(*arguments, KNOWN))
    assert [one["kind"] for one in objects if one not in without] == ["InferenceModel"]
    (listed,) = release_models(objects)
    assert find(objects, "InferenceModel")["spec"] == listed["spec"]
    assert "annotations" not in find(objects, "InferenceModel")["metadata"]


def test_a_release_without_models_gives_no_right_to_write_them(renderer: Helm) -> None:
    def granted(objects: list[Json]) -> list[Json]:
        rules = [rule for one in objects for rule in one.get("rules", ())]
        return [rule for rule in rules if "create" in rule["verbs"] and "inferencemodels" in rule["resources"]]  # fmt: skip # noqa: E501

    users = {"rbac.aggregate": False, "modelNamespace.name": "models"}
    assert granted(renderer.template(users)) == []
    assert len(granted(renderer.template({**users, "models": MODELS}))) == 1
