"""Rendering of the chart: valid and invalid values, rights, policies and settings."""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from chart.cases import CASES, EVERYTHING, INVALID
from harness import edge, install_file
from harness.api import Json
from harness.helm import (
    CHART,
    Helm,
    HelmError,
    find,
    parsed,
    pod_specs,
    release_models,
    set_arguments,
)
from harness.paths import REPOSITORY


@pytest.mark.parametrize("case", CASES)
def test_values_lint(renderer: Helm, case: str) -> None:
    assert "0 chart(s) failed" in renderer.lint(CASES[case])


@pytest.mark.parametrize("case", INVALID)
def test_invalid_values_are_rejected(renderer: Helm, case: str) -> None:
    values, message = INVALID[case]
    with pytest.raises(HelmError, match=message):
        renderer.template(values)


@pytest.mark.parametrize(
    ("values", "kind", "keys"),
    [
        ({}, "Role", ["watched"]),
        ({"watchNamespaces": ["*"]}, "ClusterRole", ["watched", "cluster"]),
    ],
    ids=["named namespaces", "whole cluster"],
)
def test_rules_equal_the_tested_ones(
    renderer: Helm, values: dict[str, Any], kind: str, keys: list[str]
) -> None:
    operator = yaml.safe_load((REPOSITORY / "operator" / "rbac.yaml").read_text())
    router = yaml.safe_load((REPOSITORY / "services/fleet_router/rbac.yaml").read_text())
    models = {"models": {"a": {"model": "x/y"}}, "modelNamespace.name": "fleet"}
    objects = renderer.template({**values, **models})
    watched = "operator-watched" if kind == "Role" else "fleet-modelfleet-operator"
    assert find(objects, kind, watched)["rules"] == [r for key in keys for r in operator[key]]
    assert find(objects, "Role", "modelfleet-operator")["rules"] == operator["own"]
    assert find(objects, "Role", "modelfleet-models")["rules"] == operator["models"]
    assert find(objects, kind, "modelfleet-router")["rules"] == router["watched"]


def test_other_components_have_no_rights(renderer: Helm) -> None:
    objects = renderer.template(EVERYTHING)
    kinds = ("RoleBinding", "ClusterRoleBinding")
    bound = {s["name"] for item in objects if item["kind"] in kinds for s in item["subjects"]}
    assert bound == {f"fleet-modelfleet-{name}" for name in ("operator", "router")}
    with_token = {
        name for name, spec in pod_specs(objects).items() if spec["automountServiceAccountToken"]
    }
    assert {name.rsplit("-", 1)[1] for name in with_token} == {"operator", "router"}


def test_without_star_nothing_is_bound_in_the_whole_cluster(renderer: Helm) -> None:
    assert not [item for item in renderer.template() if item["kind"] == "ClusterRoleBinding"]


def test_the_definition_is_the_generated_one(renderer: Helm) -> None:
    path = REPOSITORY / "crds" / "inferencemodels.modelfleet.dev.yaml"
    (generated,) = parsed(path.read_text())
    assert find(renderer.template(), "CustomResourceDefinition")["spec"] == generated["spec"]


def test_common_labels_and_annotations_are_everywhere(renderer: Helm) -> None:
    objects = [one for one in renderer.template(EVERYTHING) if not is_extra(one)]
    templates = [one["spec"]["template"] for one in objects if one["kind"] == "Deployment"]
    for item in [*objects, *templates]:
        metadata = item["metadata"]
        assert metadata["labels"]["team"] == "platform", metadata
        assert metadata["annotations"]["example.com/owner"] == "platform", metadata


def is_extra(item: Json) -> bool:
    return str(item["metadata"]["name"]).startswith("extra-")


def test_models_have_a_namespace_of_their_own(renderer: Helm) -> None:
    own = {"modelNamespace": {"name": "models", "create": True}, "watchNamespaces": ["team-a"],
           "models": {"a": {"model": "x/y"}}, "modelCache.enabled": True,
           "hfToken.token": "t"}  # fmt: skip
    objects = renderer.template(own)
    namespace = find(objects, "Namespace", "models")["metadata"]
    assert namespace["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert namespace["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    (model,) = release_models(objects)
    assert model["metadata"]["namespace"] == "models"
    assert find(objects, "ConfigMap", "modelfleet-models")["metadata"]["namespace"] == "fleet"
    served = ["fleet", "models", "team-a"]
    for kind, name in (("Role", "operator-watched"), ("PersistentVolumeClaim", "models"),
                       ("Secret", "hf-token"), ("NetworkPolicy", "-models")):  # fmt: skip
        found = [item["metadata"] for item in objects if item["kind"] == kind]
        assert sorted(m["namespace"] for m in found if m["name"].endswith(name)) == served, kind
    everywhere = renderer.template({**own, "watchNamespaces": ["*"], "modelCache.enabled": False})
    secrets = [item["metadata"] for item in everywhere if item["kind"] == "Secret"]
    assert sorted(m["namespace"] for m in secrets) == ["fleet", "models"]


def test_the_policy_knows_the_secrets_of_the_platform(renderer: Helm) -> None:
    values = {"image.pullSecrets": ["pull"], "hfToken.existingSecret": "hub",
              "profiles.own": {"hfTokenSecret": "mine"}}  # fmt: skip
    policy = find(renderer.template(values), "ValidatingAdmissionPolicy", "-pod-templates")["spec"]
    known = {one["name"]: one["expression"] for one in policy["variables"]}
    assert known["platformSecrets"] == "['pull','hub','mine']"
    assert known["inRelease"] == "request.namespace == 'fleet'"
    for off in ({"podTemplates": "full"}, {"podTemplatePolicy": False}):
        names = [item["metadata"]["name"] for item in renderer.template(off)]
        assert not [name for name in names if name.endswith("-pod-templates")]


def test_the_documents_list_what_is_installed_cluster_wide(renderer: Helm) -> None:
    page = (REPOSITORY / "docs" / "operations.md").read_text()
    section = page.split("### What is installed cluster-wide\n")[1].split("\n### ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")]
    for values in CASES.values():
        for item in renderer.template(values):
            meta = item["metadata"]
            if "namespace" in meta:
                continue
            _, before, last = meta["name"].rpartition("-")
            name = "" if item["kind"] == "Namespace" else f"{before or '`'}{last}`"
            listed = [row for row in rows if item["kind"] in row and name in row]
            assert listed, f"{item['kind']} {meta['name']} is not in docs/operations.md"


def test_every_pod_has_a_network_policy(renderer: Helm) -> None:
    for case in ("defaults", "everything", "whole cluster"):
        objects = renderer.template(CASES[case])
        policies = [item["spec"] for item in objects if item["kind"] == "NetworkPolicy"]
        components = {
            policy["podSelector"]["matchLabels"]["app.kubernetes.io/component"]
            for policy in policies
            if "matchLabels" in policy["podSelector"]
        }
        assert components == {"operator", "router", "test"}
        keys = {
            one["podSelector"]["matchExpressions"][0]["key"]
            for one in policies
            if "matchExpressions" in one["podSelector"]
        }
        assert keys == {"modelfleet.dev/inferencemodel", "modelfleet.dev/prefetch"}
        assert all(set(one["policyTypes"]) == {"Ingress", "Egress"} for one in policies)


def test_routers_and_operator_may_reach_the_same_addresses(renderer: Helm) -> None:
    """The operator probes remote addresses."""
    objects = renderer.template(EVERYTHING)
    (allowed,) = EVERYTHING["networkPolicy.routerEgress"]
    for name in ("operator", "router"):
        assert allowed in find(objects, "NetworkPolicy", f"-{name}")["spec"]["egress"]


def test_selectors_match_pod_labels(renderer: Helm) -> None:
    objects = renderer.template(CASES["names"])
    for name in ("operator", "router"):
        template = find(objects, "Deployment", name)["spec"]["template"]
        labels = template["metadata"]["labels"].items()
        for kind in ("Service", "NetworkPolicy"):
            spec = find(objects, kind, f"-{name}")["spec"]
            chosen = spec["selector"] if kind == "Service" else spec["podSelector"]["matchLabels"]
            assert chosen.items() <= labels
    environ = find(objects, "Deployment", "operator")["spec"]["template"]["spec"]["containers"][0]
    given = {one["name"]: one.get("value", "") for one in environ["env"]}
    pairs = dict(pair.split("=") for pair in given["ROUTER_SELECTOR"].split(","))
    router = find(objects, "Deployment", "router")["spec"]["template"]["metadata"]["labels"]
    assert pairs.items() <= router.items()


def test_programs_accept_their_settings(renderer: Helm) -> None:
    from fleet_contract.settings import SETTINGS
    from fleet_operator.settings import OperatorSettings
    from fleet_router.settings import RouterSettings

    known = {setting.name for setting in SETTINGS}
    for case, values in CASES.items():
        objects = renderer.template(values)
        operator = "operator-1" if "operator.shards" in values else "operator"
        for name, read in ((operator, OperatorSettings.read), ("router", RouterSettings.read)):
            pod = find(objects, "Deployment", name)["spec"]["template"]["spec"]
            plain = {e["name"]: e["value"] for e in pod["containers"][0]["env"] if "value" in e}
            assert plain.keys() <= known, case
            read(plain)


def test_the_operator_reads_profiles_and_catalog(renderer: Helm, tmp_path: Path) -> None:
    from fleet_contract.catalog import load
    from fleet_operator.resources import profiles

    for case, values in CASES.items():
        data = find(renderer.template(values), "ConfigMap", "modelfleet-profiles")["data"]
        read, problems = profiles.parse(data)
        assert not problems, case
        assert "default" in read
    objects = renderer.template(EVERYTHING)
    read, _ = profiles.parse(find(objects, "ConfigMap", "modelfleet-profiles")["data"])
    assert read["l4"].model_cache is not None
    assert read["l4"].model_cache.claim == "fleet-modelfleet-models"
    assert read["l4"].env == {"MAX_QUEUE_SIZE": "64"}
    catalog = tmp_path / "catalog.yaml"
    catalog.write_text(find(objects, "ConfigMap", "catalog")["data"]["catalog.yaml"])
    assert {"acme/encoder", "BAAI/bge-m3"} <= set(load(catalog))
    replacing = {**EVERYTHING, "catalog.replace": True}
    objects = renderer.template(replacing)
    catalog.write_text(find(objects, "ConfigMap", "catalog")["data"]["catalog.yaml"])
    assert set(load(catalog)) == {"acme/encoder"}


def test_the_router_reads_keys(renderer: Helm) -> None:
    from fleet_router.callers.keys import parse

    secret = find(renderer.template(EVERYTHING), "Secret", "api-keys")
    (key,) = parse(secret["stringData"]["keys.yaml"]).by_hash.values()
    assert key.limits.requests_per_minute == 60


def test_rendering_is_deterministic(renderer: Helm) -> None:
    arguments = ("template", "fleet", str(CHART), *set_arguments(EVERYTHING))
    assert renderer(*arguments) == renderer(*arguments)


def test_images_use_the_configured_registry(renderer: Helm) -> None:
    images = {
        container["image"]
        for spec in pod_specs(renderer.template(CASES["closed network"])).values()
        for container in spec["containers"]
    }
    prefix = "mirror.example.com/fleet/modelfleet-"
    assert images == {f"{prefix}{kind}:0.1.0" for kind in ("operator", "router", "client")}


def test_every_annotation_has_a_directive(renderer: Helm) -> None:
    """tests/e2e configures nginx with them."""
    ingress = find(renderer.template(CASES["open"]), "Ingress")
    annotations = ingress["metadata"]["annotations"]
    assert len(edge.directives(ingress)) == len(annotations) > 5
    ingress["metadata"]["annotations"] = annotations | {f"{edge.PREFIX}other": "1"}
    with pytest.raises(KeyError, match="other"):
        edge.directives(ingress)


def test_every_controller_has_annotations(renderer: Helm) -> None:
    known = yaml.safe_load((CHART / "files" / "ingress-annotations.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert set(schema["properties"]["ingress"]["properties"]["controller"]["enum"]) == set(known)
    for controller, expected in known.items():
        values = {**CASES["open"], "ingress.controller": controller}
        found = find(renderer.template(values), "Ingress")["metadata"]
        assert found.get("annotations", {}) == expected


@pytest.mark.parametrize("path", sorted((CHART / "presets").glob("*.yaml")), ids=lambda p: p.stem)
def test_presets_render(renderer: Helm, path: Path) -> None:
    assert renderer.template(files=[path])


def test_on_openshift_the_platform_assigns_ids(renderer: Helm) -> None:
    objects = renderer.template(files=[CHART / "presets" / "openshift.yaml"])
    for name, spec in pod_specs(objects).items():
        assert spec["securityContext"] == {
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        }, name
    operator = find(objects, "Deployment", "operator")["spec"]["template"]["spec"]["containers"][0]
    assert {"name": "SERVER_USER_IDS", "value": "0"} in operator["env"]
    for policy in (item for item in objects if item["kind"] == "NetworkPolicy"):
        assert {"protocol": "UDP", "port": 5353} in policy["spec"]["egress"][0]["ports"]


def test_the_file_for_kubectl_is_fresh(renderer: Helm) -> None:
    assert install_file.FILE.read_text() == install_file.render(renderer), "make install-yaml"


def test_values_in_the_documentation_are_valid(renderer: Helm) -> None:
    page = (REPOSITORY / "docs" / "operations.md").read_text()
    shown = re.findall(r"^ *```yaml\n(.*?)^ *```", page, re.MULTILINE | re.DOTALL)
    assert len(shown) >= 3
    for text in shown:
        for values in yaml.safe_load_all(textwrap.dedent(text)):
            if "kind" not in values:  # a manifest
                assert renderer.template(values), text


def test_a_null_counts_as_not_set(renderer: Helm, tmp_path: Path) -> None:
    """In a file of values, where nothing of the chart is replaced by it."""
    file = tmp_path / "values.yaml"
    file.write_text("models: {m: {model: a/b, resources: null}}\nprofiles: {default: null}\n")
    values = {"crds.enabled": False, "hfToken.token": "t", "modelNamespace.name": "models"}
    objects = renderer.template(values, files=[file])
    (model,) = release_models(objects)
    assert (model["metadata"]["name"], model["spec"]["model"]) == ("m", "a/b")
    file.write_text("profiles: {l4: {s3: null}}\n")
    with pytest.raises(HelmError, match="/profiles/l4/s3': got null, want object"):
        renderer.template(files=[file])
    arguments = ("template", "fleet", str(CHART), "-f", str(file), "--skip-schema-validation")
    assert "kind: ValidatingAdmissionPolicy" in renderer(*arguments)
