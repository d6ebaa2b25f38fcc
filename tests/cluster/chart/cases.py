"""Sets of values; each is rendered, and applied to a real API server as a dry run."""

from __future__ import annotations

from typing import Any

SHA = "0" * 64
EVERYTHING: dict[str, Any] = {
    "image.registry": "registry.example.com/fleet",
    "image.tag": "1.2.3",
    "image.pullSecrets": ["pull"],
    "operator.settings": {"SCALE_DOWN_DELAY": 120, "LOG_LEVEL": "debug"},
    "operator.tolerations": [{"key": "infra", "operator": "Exists"}],
    "operator.podLabels": {"team": "platform"},
    "router.settings": {"HOLD_SECONDS": 600},
    "router.remoteKeys": {"names": [], "existingSecret": "", "values": {"CLOUD_KEY": "example"}},
    "router.autoscaling.enabled": True,
    "router.service.type": "LoadBalancer",
    "router.podAnnotations": {"example.com/a": "b"},
    "router.nodeSelector": {"kubernetes.io/os": "linux"},
    "router.serviceAccount.annotations": {"example.com/role": "router"},
    "server.cuda.enabled": True,
    "server.vllmImage": "registry.example.com/vllm:1",
    "server.env": {"MAX_QUEUE_SIZE": 64},
    "profiles.l4": {"device": "cuda", "nodeSelector": {"nvidia.com/gpu.product": "NVIDIA-L4"}},
    "catalog.models": [{"model": "acme/encoder", "task": "embedding", "source": "hf://acme/e"}],
    "modelNamespace.name": "other-team",
    "models": {
        "smollm2": {"model": "HuggingFaceTB/SmolLM2-135M-Instruct"},
        "encoder": {"model": "acme/encoder", "minReplicas": 1, "maxReplicas": 4},
    },
    "server.serviceAccount": {"create": True, "annotations": {"example.com/role": "models"}},
    "modelCache": {"enabled": True, "storageClassName": "fast"},
    "hfToken.token": "example",
    "apiKeys.keys": [
        {
            "name": "team-a",
            "sha256": SHA,
            "limits": {"requestsPerMinute": 60},
            "metrics": True,
            "manage": True,
        }
    ],
    "ingress": {"enabled": True, "host": "models.example.com", "className": "nginx"},
    "ingress.tls": [{"hosts": ["models.example.com"], "secretName": "tls"}],
    "httpRoute.enabled": True,
    "httpRoute.parentRefs": [{"name": "gateway"}],
    "httpRoute.hostnames": ["models.example.com"],
    "networkPolicy.clients": [{"namespaceSelector": {"matchLabels": {"models": "yes"}}}],
    "networkPolicy.modelClients": [{"namespaceSelector": {"matchLabels": {"gateway": "yes"}}}],
    "networkPolicy.routerEgress": [{"to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}]}],
    "networkPolicy.modelEgress": [{"to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}]}],
    "monitoring.serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "monitoring.podMonitor.enabled": True,
    "monitoring.prometheusRule.enabled": True,
    "monitoring.dashboards.enabled": True,
    "test.require": ["chat"],
    "test.apiKeySecret": "key",
    "commonLabels": {"team": "platform"},
    "commonAnnotations": {"example.com/owner": "platform"},
    "extraObjects": [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": "extra-{{ .Release.Name }}",
                "namespace": "{{ .Release.Namespace }}",
            },
        }
    ],
    "image.architectures": ["amd64", "arm64"],
    "caBundle.configMap": "authorities",
}

CASES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "everything": EVERYTHING,
    "whole cluster": {"watchNamespaces": ["*"], "monitoring.podMonitor.enabled": True},
    "other namespace": {"watchNamespaces": ["other-team"], "modelCache.enabled": True},
    "a namespace of models": {
        "modelNamespace.name": "other-team",
        "models": {"a": {"model": "x/y"}},
        "server.serviceAccount.create": True,
        "router.remoteKeys": {
            "existingSecret": "remote",
            "names": ["OLD_KEY"],
            "rules": [{"name": "CLOUD_KEY", "addresses": ["https://api.example.com"]}],
        },
    },
    "existing secrets": {
        "hfToken.existingSecret": "hf",
        "apiKeys.existingSecret": "keys",
        "router.remoteKeys": {"existingSecret": "remote", "names": ["CLOUD_KEY"]},
        "modelCache": {"enabled": True, "existingClaim": "weights"},
    },
    "closed network": {
        "image.registry": "mirror.example.com/fleet",
        "server.mirrors": {
            "pypiIndexUrl": "https://mirror.example.com/simple",
            "hubEndpoint": "https://mirror.example.com/hub",
        },
        "networkPolicy.weightsPorts": [8443],
    },
    "nothing is fetched": {"server.fetchWeights": False},
    "bare": {
        "networkPolicy.enabled": False,
        "crds.enabled": False,
        "operator.podDisruptionBudget.enabled": False,
        "router.podDisruptionBudget.enabled": False,
        "router.topologySpread": [],
        "router.replicas": 1,
        "networkPolicy.metrics": [],
        "profiles": {"default": {}, "nvidia": {}},
    },
    "own catalog": {
        "catalog": {"replace": True, "models": [{"model": "acme/chat", "source": "hf://acme/c"}]}
    },
    "open": {"ingress.enabled": True, "router.allowUnauthenticated": True},
    "fractions": {
        "modelNamespace.name": "other-team",
        "profiles.default.resources.requests.cpu": 0.5,
        "router.resources.requests.cpu": 0.5,
        "models": {"a": {"model": "x/y", "resources": {"requests": {"cpu": 0.5, "memory": 2e9}}}},
    },
    "names": {"nameOverride": "mf", "fullnameOverride": "fleet-a"},
    "live reload": {"liveReload": True},
    "shards": {
        "operator.shards": 3,
        "operator.replicas": 2,
        "watchNamespaces": ["*"],
        "monitoring.serviceMonitor.enabled": True,
        "monitoring.prometheusRule.enabled": True,
    },
    "mesh": {"router.upstreams": "services"},
    "dual stack": {
        "router.service.ipFamilyPolicy": "PreferDualStack",
        "router.service.ipFamilies": ["IPv4"],
    },
    "values of an earlier chart": {
        "crds": {"upgrade": True, "resources": {"requests": {"cpu": "10m"}}, "tolerations": []},
        "modelCache": {"enabled": True, "keep": False},
    },
    "only own clients": {
        "networkPolicy.clients": [{"podSelector": {"matchLabels": {"app": "shop"}}}],
        "networkPolicy.metrics": [],
    },
}

INVALID: dict[str, tuple[dict[str, Any], str]] = {
    "a misspelt value": ({"router.replica": 3}, "replica"),
    "a misspelt setting": ({"router.settings": {"HOLD_SECOND": 3}}, "HOLD_SECOND"),
    "a setting of the router": ({"operator.settings": {"HOLD_SECONDS": 3}}, "HOLD_SECONDS"),
    "no shard": ({"operator.shards": 0}, "operator/shards"),
    "a shard of shards": (
        {"operator.shards": 2, "operator.settings": {"SHARD": "0/2"}},
        "operator.shards sets it",
    ),
    "an unknown Ingress controller": ({"ingress.controller": "nginx2"}, "ingress/controller"),
    "no security context": ({"podSecurityContext": None}, "podSecurityContext"),
    "an open Ingress": ({"ingress.enabled": True}, "no API key is required"),
    "an open load balancer": ({"router.service.type": "LoadBalancer"}, "no API key is required"),
    "an open node port": ({"router.service.type": "NodePort"}, "no API key is required"),
    "an open route": (
        {"httpRoute.enabled": True, "httpRoute.parentRefs": [{"name": "g"}]},
        "no API key is required",
    ),
    "a quantity that is none": ({"router.resources.limits.memory": "1.2.3"}, "router/resources"),
    "a negative quantity": ({"profiles.default.resources.limits.cpu": -1}, "profiles/default"),
    "a word for a number": ({"router.replicas": "three"}, "router/replicas"),
    "no parent of a route": ({"httpRoute.enabled": True}, "parentRefs"),
    "a path without a slash": ({"ingress.paths": ["v1"]}, "ingress/paths"),
    "a profile's misspelt field": ({"profiles.default": {"resource": {}}}, "profiles/default"),
    "a model without an id": ({"models": {"a": {"task": "chat"}}}, "models/a"),
    "models without a namespace": ({"models": {"a": {"model": "x/y"}}}, "modelNamespace.name"),
    "a limit of CPU below the autoscaler's target": (
        {"router.autoscaling.enabled": True, "router.resources.limits.cpu": "0.5"},
        r"limits.cpu \(0.5\) is below targetCPU \(700m\)",
    ),
    "a name no Service may have": ({"models": {"a.b": {"model": "x/y"}}}, "a.b"),
    "a key instead of its hash": (
        {"apiKeys.keys": [{"name": "a", "sha256": "sk-123"}]},
        "apiKeys/keys/0/sha256",
    ),
    "names of keys without a Secret": ({"router.remoteKeys.names": ["A"]}, "remoteKeys"),
    "rules of keys without a Secret": (
        {"router.remoteKeys.rules": [{"name": "A", "addresses": ["https://a.test"]}]},
        "remoteKeys",
    ),
    "a rule of a key without addresses": (
        {"router.remoteKeys": {"existingSecret": "s", "rules": [{"name": "A"}]}},
        "remoteKeys/rules/0",
    ),
    "pod templates that are half open": ({"podTemplates": "half"}, "podTemplates"),
    "a second release namespace": ({"modelNamespace.create": True}, "modelNamespace.create"),
    "an empty catalog": ({"catalog.replace": True}, "catalog/models"),
    "a task that is none": ({"test.require": ["vision"]}, "test/require"),
    "star and names": ({"watchNamespaces": ["*", "a"]}, "must be the only entry"),
    "a shared volume for a cluster": (
        {"watchNamespaces": ["*"], "modelCache.enabled": True},
        "a volume is of one namespace",
    ),
}
"""Invalid values, and a part of the error message."""
