"""Values that exclude others, and those that are true by default."""

from __future__ import annotations

from typing import Any

from chart.cases import SHA
from chart.places.place import AFFINITY, OPERATOR, PROFILES, ROUTER, TEST, Place

REMOTE_RULES = (
    '[{"addresses":["https://a.test"],"name":"NEW","namespaces":["b"]},'
    '{"addresses":["https://"],"name":"OLD"}]'
)
OTHERS: list[tuple[dict[str, Any], list[Place]]] = [
    (
        {"router.allowUnauthenticated": True, "router.service.type": "NodePort"},
        [Place(f"{ROUTER} env:ALLOW_UNAUTHENTICATED", "1")],
    ),
    (
        {
            "router.autoscaling": {
                "enabled": True, "minReplicas": 4, "maxReplicas": 14, "targetCPU": 44,
            }
        },
        [
            Place("Deployment/-router spec replicas", None),
            Place(f"{ROUTER} spec containers 0 resources requests cpu", "440m"),
            Place(f"{ROUTER} spec containers 0 resources requests memory", "128Mi"),
            Place("HorizontalPodAutoscaler/ spec minReplicas", 4),
            Place("HorizontalPodAutoscaler/ spec maxReplicas", 14),
            Place(
                "HorizontalPodAutoscaler/ spec metrics 0 resource target averageValue", "440m"
            ),
        ],
    ),
    (
        {"router.autoscaling.enabled": True, "router.resources.requests.cpu": 1.5},
        [Place(f"{ROUTER} spec containers 0 resources requests cpu", 1.5)],
    ),
    (
        {"router.remoteKeys": {"existingSecret": "", "names": [], "values": {"A_KEY": "a"}}},
        [
            Place("Secret/-remote-keys stringData A_KEY", "a"),
            Place(f"{ROUTER} env:REMOTE_KEYS", "A_KEY"),
            Place(f"{ROUTER} from:A_KEY secretKeyRef name", "fleet-modelfleet-remote-keys"),
        ],
    ),
    (
        {
            "router.remoteKeys": {
                "existingSecret": "remote", "names": ["OLD"],
                "rules": [{"name": "NEW", "addresses": ["https://a.test"], "namespaces": ["b"]}],
            }
        },
        [
            *(Place(f"{pod} env:REMOTE_KEYS", REMOTE_RULES) for pod in (ROUTER, OPERATOR)),
            Place(f"{ROUTER} from:NEW secretKeyRef name", "remote"),
            Place(f"{ROUTER} from:OLD secretKeyRef name", "remote"),
        ],
    ),
    (
        {"operator.shards": 3},
        [
            Place(f"Deployment/-operator-{index} spec template env:SHARD", f"{index}/3")
            for index in range(3)
        ],
    ),
    (
        {"modelNamespace": {"name": "models", "create": True, "labels": {"a": "b"}}},
        [
            Place("Namespace/models metadata labels a", "b"),
            Place(f"{OPERATOR} env:WATCH_NAMESPACES", "fleet,models"),
        ],
    ),
    (
        {"hfToken.token": "hub-token"},
        [
            Place("Secret/-hf-token stringData HF_TOKEN", "hub-token"),
            Place(f"{OPERATOR} env:HF_TOKEN_SECRET", "fleet-modelfleet-hf-token"),
        ],
    ),
    (
        {"apiKeys.keys": [{"name": "a", "sha256": SHA}]},
        [
            Place(
                "Secret/-api-keys stringData keys.yaml yaml keys", [{"name": "a", "sha256": SHA}]
            ),
            Place(f"{ROUTER} spec volumes 1 secret secretName", "fleet-modelfleet-api-keys"),
            Place(f"{ROUTER} env:ALLOW_UNAUTHENTICATED", None),
        ],
    ),
    (
        {"modelCache": {"enabled": True, "existingClaim": "weights"}},
        [Place(f"{PROFILES} default yaml modelCache claim", "weights")],
    ),
    (
        {"server.cuda": {"enabled": True, "image": "cuda:image"}},
        [Place(f"{OPERATOR} env:SERVER_IMAGE_CUDA", "cuda:image")],
    ),
    (
        {"server.vllm": {"enabled": True, "image": "vllm:image"}},
        [Place(f"{OPERATOR} env:SERVER_IMAGE_VLLM", "vllm:image")],
    ),
    (
        {"networkPolicy.weightsPorts": [6222]},
        [
            Place(f"NetworkPolicy/-{name} spec egress 1 ports 0 port", 6222)
            for name in ("models", "prefetch")
        ],
    ),
    ({"test.image": "client:image"}, [Place(f"{TEST} spec containers 0 image", "client:image")]),
    (
        {"modelCache.enabled": True},
        [
            Place("PersistentVolumeClaim/ metadata annotations helm.sh/resource-policy", "keep"),
            Place("CustomResourceDefinition/ metadata annotations helm.sh/resource-policy", "keep"),
            Place(f"{ROUTER} spec affinity", None),
        ],
    ),
    (
        {"image.architectures": ["amd64"]},
        [
            Place(
                f"{ROUTER} spec affinity {AFFINITY} requiredDuringSchedulingIgnoredDuringExecution",
                {"nodeSelectorTerms": [{"matchExpressions": [
                    {"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64"]}
                ]}]},
            ),
        ],
    ),
    (
        {"operator.containerSecurityContext": {"capabilities": None}},
        [
            Place(f"{OPERATOR} spec containers 0 securityContext capabilities", None),
            Place(f"{ROUTER} spec containers 0 securityContext capabilities", {"drop": ["ALL"]}),
        ],
    ),
    (
        {"extraObjects": []},
        [Place(f"{ROUTER} metadata annotations", None)],
    ),
    (
        {"liveReload": True},
        [
            Place(f"{OPERATOR} spec volumes 1 emptyDir sizeLimit", "1Gi"),
            Place(f"{ROUTER} spec initContainers 0 resources limits memory", "256Mi"),
        ],
    ),
]  # fmt: skip
"""Values that exclude others, each in a release of its own."""
OFF: dict[str, str] = {
    "networkPolicy.enabled": "NetworkPolicy/-router spec",
    "operator.podDisruptionBudget.enabled": "PodDisruptionBudget/-operator spec",
    "router.podDisruptionBudget.enabled": "PodDisruptionBudget/-router spec",
    "router.admissionPolicy": "ValidatingAdmissionPolicy/-router spec",
    "podTemplatePolicy": "ValidatingAdmissionPolicy/-pod-templates spec",
    "rbac.aggregate": "ClusterRole/-models-edit rules",
    "crds.enabled": "CustomResourceDefinition/ spec",
}
"""Values that are true by default, and a place that there is not without."""
