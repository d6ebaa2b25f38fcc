"""The explanation of a short manifest."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from fleet_operator.commands.explain import explain, render
from fleet_operator.commands.explain_command import app, operator_environment
from fleet_operator.decide.rollout_strategy import Cluster
from fleet_operator.resources.profiles import Profile
from fleet_operator.resources.resolve import Sources
from fleet_operator.settings import OperatorSettings
from support.operator_objects import model, node, settings_of

L4 = Profile(node_selector={"modelfleet.test/gpu": "l4"})


def test_fields_with_their_origin_and_nodes_with_their_reason(
    sources: Sources, settings: OperatorSettings
) -> None:
    known = Sources(sources.catalog, {"l4": L4}, {})
    nodes = [node("a"), node("b", labels={"modelfleet.test/gpu": "l4"})]
    raw = model(model="openai/whisper-base", profile="l4", replicas=2)
    found = explain(raw, known, settings, Cluster(nodes, {}))
    rows = {path: (value, origin) for path, value, origin in found.fields}
    assert rows["model"] == ("openai/whisper-base", "manifest")
    assert rows["replicas"] == ("2", "manifest")
    assert rows["task"] == ("speech", "catalog")
    assert rows["nodeSelector.modelfleet.test/gpu"] == ("l4", "profile l4")
    assert found.nodes == {"a": "lacks the label modelfleet.test/gpu=l4", "b": None}
    lines = render(found).splitlines()
    assert lines[2].split() == ["FIELD", "VALUE", "FROM"]
    assert any(line.startswith("task ") and line.endswith("catalog") for line in lines)
    assert "  spec:" in lines
    table = lines[lines.index("NODE  WHY") :]
    assert table[1].split(maxsplit=1) == ["b", "can run another server now"]
    assert table[2].split(maxsplit=1) == ["a", "lacks the label modelfleet.test/gpu=l4"]


def test_values_cannot_control_the_terminal(sources: Sources, settings: OperatorSettings) -> None:
    raw = model(env={"A": "\x1b[2J"}, profile="\x1b[2J")
    text = render(explain(raw, sources, settings, None))
    assert "It cannot be run" in text
    assert "\x1b" not in text
    text = render(explain(model(env={"A": "\x1b[2J"}), sources, settings, None))
    assert r"\x1b[2J" in text
    assert "\x1b" not in text


def test_specs_that_cannot_run_are_explained(sources: Sources, settings: OperatorSettings) -> None:
    found = explain(model(engine="torch"), sources, settings, None)
    assert "It cannot be run: engine torch needs the server image with torch" in render(found)


def test_a_refused_template_is_explained(sources: Sources, settings: OperatorSettings) -> None:
    raw = model(podTemplate={"spec": {"hostNetwork": True}})
    assert "podTemplate.spec.hostNetwork may be false only" in render(
        explain(raw, sources, settings, None)
    )


def test_a_remote_model(sources: Sources, settings: OperatorSettings) -> None:
    raw = model(engine="remote", remote={"address": "http://far"})
    assert "without a pod" in render(explain(raw, sources, settings, None))


@pytest.mark.parametrize(
    ("nodes", "text"),
    [(None, "The nodes are unknown."), (Cluster([], {}), "There are no nodes.")],
)
def test_without_nodes(
    sources: Sources, settings: OperatorSettings, nodes: Cluster | None, text: str
) -> None:
    assert text in render(explain(model(), sources, settings, nodes))


def test_the_command_on_a_file(tmp_path: Path) -> None:
    path = tmp_path / "model.yaml"
    path.write_text(
        "apiVersion: modelfleet.dev/v1alpha1\nkind: InferenceModel\nmetadata: {name: m}\n"
        "spec: {model: openai/whisper-base}\n"
    )
    done = CliRunner().invoke(app, ["-f", str(path), "--offline"])
    assert done.exit_code == 0, done.output
    assert "m is served as" in done.output
    assert "modelfleet-server:cpu" in done.output


@pytest.mark.parametrize("arguments", [[], ["m", "-f", "x.yaml"], ["m", "--offline"]])
def test_wrong_usage(arguments: list[str]) -> None:
    assert CliRunner().invoke(app, arguments).exit_code == 2


def test_the_id_of_a_model_is_no_name() -> None:
    """kubectl would read it as a kind and a name."""
    done = CliRunner().invoke(app, ["org/model"])
    assert done.exit_code == 2
    assert "org/model is not the name of an InferenceModel" in done.stderr


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["-f", str(tmp_path / "none.yaml"), "--offline"])
    assert done.exit_code == 1
    assert "none.yaml" in done.output


def test_settings_are_those_of_the_operators_deployment() -> None:
    env = [{"name": "SERVER_IMAGE_CPU", "value": "x:1"}, {"name": "POD_NAMESPACE", "valueFrom": {}}]
    container = {"env": env}
    item = {
        "metadata": {"namespace": "fleet"},
        "spec": {"template": {"spec": {"containers": [container]}}},
    }
    assert operator_environment({"items": [item]}) == ({"SERVER_IMAGE_CPU": "x:1"}, "fleet")
    assert operator_environment({}) == ({}, None)


def test_the_pod_is_that_of_the_resource(sources: Sources) -> None:
    """With inherited labels, claimed devices and mounted images."""
    raw = model(devices=[{"class": "gpu.nvidia.com"}], source="oci://ghcr.io/org/m:1")
    raw["metadata"]["labels"] = {"kueue.x-k8s.io/queue-name": "team"}
    found = explain(raw, sources, settings_of(SERVER_IMAGE_CUDA="cuda"), None)
    assert found.problem is None
    assert found.pod is not None
    assert found.pod["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team"
    assert "resourceClaims" in found.pod["spec"]
    assert "image" in found.pod["spec"]["volumes"][-1]


def test_secrets_that_are_withheld(sources: Sources) -> None:
    raw = model(env={"HF_ENDPOINT": "https://mirror"})
    text = render(explain(raw, sources, settings_of(HF_TOKEN_SECRET="hub"), None))
    assert "Note: The platform's hub token (HF_TOKEN) is not passed to the servers" in text
    assert "env.HF_ENDPOINT" in text
