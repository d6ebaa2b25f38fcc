"""Labels and annotations that pods get from their InferenceModel."""

from __future__ import annotations

from fleet_operator.resources.pod_parts import inherited
from support.operator_objects import settings_of

META = {
    "labels": {
        "kueue.x-k8s.io/queue-name": "team",
        "example.com/cost-center": "7",
        "app.kubernetes.io/managed-by": "Helm",
        "argocd.argoproj.io/instance": "fleet",
        "modelfleet.dev/inferencemodel": "other",
    },
    "annotations": {
        "kueue.x-k8s.io/pod-group-name": "g",
        "example.com/owner": "a",
        "kubectl.kubernetes.io/last-applied-configuration": "{}",
        "modelfleet.dev/wake-at": "now",
    },
}


def test_those_of_schedulers_are_inherited_by_default() -> None:
    settings = settings_of()
    assert inherited.pod_labels(META, settings) == {"kueue.x-k8s.io/queue-name": "team"}
    assert inherited.pod_annotations(META, settings) == {"kueue.x-k8s.io/pod-group-name": "g"}


def test_patterns_choose_others_but_never_our_own_and_those_of_tools() -> None:
    settings = settings_of(INHERITED_LABELS="*", INHERITED_ANNOTATIONS="example.com/own*")
    assert inherited.pod_labels(META, settings) == {
        "kueue.x-k8s.io/queue-name": "team", "example.com/cost-center": "7",
    }  # fmt: skip
    assert inherited.pod_annotations(META, settings) == {"example.com/owner": "a"}


def test_a_resource_without_any() -> None:
    assert inherited.pod_labels({}, settings_of()) == {}
