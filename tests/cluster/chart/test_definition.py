"""The custom resource definition of releases, earlier charts and kubectl; no model is lost."""

from __future__ import annotations

import re
import shlex

import pytest

from chart.release import Definition, Release
from harness import install_file
from harness.api import Api
from harness.helm import CHART, Helm, HelmError
from harness.kubectl import Kubectl
from harness.models import model as inference_model
from harness.tenant import Tenant

MODEL = ("modelfleet.dev/v1alpha1", "InferenceModel")


def test_on_a_new_cluster_it_belongs_to_the_release(
    release: Release, definition: Definition, helm: Helm, api: Api
) -> None:
    definition.delete()
    release("install")
    assert definition.owner() == "fleet"
    definition.wait()
    model = release.tenant.create(inference_model("smollm2"))

    with Tenant(api, "second") as other:
        notes = helm("install", "second", str(CHART), "-n", other.namespace)
        assert f"belongs to the release {release.tenant.namespace}/fleet" in notes
        helm("uninstall", "second", "-n", other.namespace)
    definition.age()
    release("upgrade")
    assert definition.is_fresh()

    release("upgrade", values={"crds.enabled": False})
    assert release.tenant.items(*MODEL)[0]["metadata"]["uid"] == model["metadata"]["uid"]
    release("uninstall", "--wait", "--timeout=180s")
    assert definition.is_fresh()


def test_one_that_is_not_kept_is_deleted(release: Release, definition: Definition) -> None:
    definition.delete()
    release("install", values={"crds.keep": False})
    release("uninstall", "--wait", "--timeout=180s")
    definition.delete()  # which only waits


def test_an_older_one_without_an_owner_stops_the_upgrade_and_is_taken_over(
    release: Release, definition: Definition
) -> None:
    """As earlier charts left it; the error has the commands."""
    release("install")
    assert definition.owner() is None
    model = release.tenant.create(inference_model("smollm2"))
    definition.age()
    with pytest.raises(HelmError, match="differs from that of this chart") as refused:
        release("upgrade", values={"image.tag": "9.9.9"})
    assert release.image("router") == "modelfleet-router:0.1.0"
    commands = re.search(r"run `(.*)`\. No InferenceModel", str(refused.value))
    assert commands is not None
    for command in commands[1].split(" && "):
        release.tenant.kubectl(*shlex.split(command)[1:])
    release("upgrade", values={"image.tag": "9.9.9"})
    assert definition.is_fresh()
    assert release.tenant.items(*MODEL)[0]["metadata"]["uid"] == model["metadata"]["uid"]
    release("uninstall", "--wait", "--timeout=180s")
    assert definition.is_fresh()


def test_helm_takes_over_one_of_another_release(release: Release, definition: Definition) -> None:
    release("install")
    definition.age()
    release("upgrade", "--take-ownership", values={"crds.adopt": True})
    assert definition.owner() == "fleet"
    assert definition.is_fresh()
    release("uninstall", "--wait", "--timeout=180s")


def test_kubectl_applies_the_file_to_a_new_cluster(
    api: Api, definition: Definition, kinds: object
) -> None:
    definition.delete()
    kubectl = Kubectl(api.kubeconfig, "")
    try:
        kubectl("apply", "--server-side", "-f", str(install_file.FILE))
        assert definition.is_fresh()
        found = kubectl("get", "deployments", "-n", install_file.NAMESPACE, "-o", "name")
        assert "modelfleet-operator" in found
        kubectl("apply", "--server-side", "-f", str(install_file.FILE))
    finally:
        namespaces = (install_file.NAMESPACE, install_file.MODELS)
        kubectl("delete", "namespace", *namespaces, "--wait=false")
