"""Values that can be set together, in one release."""

from __future__ import annotations

from typing import Any

from chart.places.helm_test import HELM_TEST
from chart.places.place import MODELS, OPERATOR, PROFILES, ROUTER, TEST, Place, component

PLACES: dict[str, tuple[Any, list[Place]]] = {
    "nameOverride": (
        "fleetname",
        [Place(f"{ROUTER} metadata labels app.kubernetes.io/name")],
    ),
    "fullnameOverride": (
        "whole-name",
        [Place(f"{ROUTER} spec serviceAccountName", "whole-name-router")],
    ),
    "commonLabels": (
        {"cost-center": "7", "app.kubernetes.io/name": "other"},
        [
            Place("Service/-router metadata labels cost-center", "7"),
            Place("Service/-router metadata labels app.kubernetes.io/name", "fleetname"),
        ],
    ),
    "commonAnnotations": (
        {"owner": "platform"},
        [Place("Service/-router metadata annotations owner", "platform")],
    ),
    "extraObjects": (
        [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mapping"}},
            "{apiVersion: v1, kind: ConfigMap, metadata: {name: text-{{ .Release.Name }}}}",
        ],
        [Place(f"ConfigMap/{name} kind", "ConfigMap") for name in ("mapping", "text-fleet")],
    ),
    "podSecurityContext": ({"runAsUser": 1234}, []),
    "containerSecurityContext": ({"privileged": False}, []),
    "caBundle.configMap": (
        "authorities",
        [
            Place(f"{OPERATOR} env:CA_BUNDLE_CONFIGMAP", "authorities"),
            *(Place(f"{pod} env:SSL_CERT_FILE", "/etc/modelfleet-ca/ca.crt")
              for pod in (OPERATOR, ROUTER)),
        ],
    ),
    "caBundle.key": (
        "bundle.pem",
        [
            Place(f"{OPERATOR} env:CA_BUNDLE_KEY"),
            *(Place(f"{pod} spec volumes -2 configMap items 0 key") for pod in (OPERATOR, ROUTER)),
        ],
    ),
    "image.architectures": (["arm64"], [Place(f"{OPERATOR} env:SERVER_ARCHITECTURES", "arm64")]),
    "watchNamespaces": (
        ["second"],
        [
            Place(f"{OPERATOR} env:WATCH_NAMESPACES", "fleet,second"),
            Place(f"{ROUTER} env:WATCH_NAMESPACES", "fleet,second"),
        ],
    ),
    "idPrefixes": (
        {"a": "a/", "b": "b-"},
        [
            Place(f"{OPERATOR} env:ID_PREFIXES", "a=a/,b=b-"),
            Place(f"{ROUTER} env:ID_PREFIXES", "a=a/,b=b-"),
        ],
    ),
    "modelNamespace.name": ("second", [Place(f"{MODELS} mine yaml metadata namespace", "second")]),
    "podTemplates": ("full", [Place(f"{OPERATOR} env:POD_TEMPLATES", "full")]),
    "server.serviceAccount": (
        {"create": True, "name": "models", "annotations": {"role": "server"}},
        [
            Place(f"{OPERATOR} env:SERVER_SERVICE_ACCOUNT", "models"),
            Place("ServiceAccount/models metadata annotations role", "server"),
            Place("ServiceAccount/models automountServiceAccountToken", False),
        ],
    ),
    "image.registry": ("registry.test", []),
    "image.prefix": ("pre-", []),
    "image.tag": (
        "7.7",
        [
            Place(f"{OPERATOR} env:SERVER_IMAGE_CUDA", "registry.test/pre-server:7.7-cuda"),
            Place(f"{TEST} spec containers 0 image", "registry.test/pre-client:7.7"),
        ],
    ),
    "image.pullPolicy": (
        "Always",
        [
            *(Place(f"{pod} spec containers 0 imagePullPolicy")
              for pod in (OPERATOR, ROUTER, TEST)),
            Place(f"{OPERATOR} env:IMAGE_PULL_POLICY"),
        ],
    ),
    "image.pullSecrets": (
        ["pull-1"],
        [
            *(Place(f"{pod} spec imagePullSecrets", [{"name": "pull-1"}])
              for pod in (OPERATOR, ROUTER, TEST)),
            Place(f"{OPERATOR} env:IMAGE_PULL_SECRETS", "pull-1"),
        ],
    ),
    **component("operator", OPERATOR, "operator", 110),
    "operator.replicas": (5, [Place("Deployment/-operator spec replicas")]),
    "operator.strategy": (
        {"type": "RollingUpdate"},
        [Place("Deployment/-operator spec strategy type", "RollingUpdate")],
    ),
    "operator.podDisruptionBudget.maxUnavailable": (
        4,
        [Place("PodDisruptionBudget/-operator spec maxUnavailable")],
    ),
    "operator.settings": ({"WORKERS": 11}, [Place(f"{OPERATOR} env:WORKERS", "11")]),
    "operator.drainSeconds": (111, [Place(f"{OPERATOR} env:POD_DRAIN_SECONDS", "111")]),
    **component("router", ROUTER, "router", 120),
    "router.replicas": (3, [Place("Deployment/-router spec replicas")]),
    "router.strategy": (
        {"rollingUpdate": {"maxSurge": 2, "maxUnavailable": 1}},
        [Place("Deployment/-router spec strategy")],
    ),
    "router.upstreams": ("services", [Place(f"{ROUTER} env:UPSTREAMS", "services")]),
    "router.console": (False, [Place(f"{ROUTER} env:ENABLE_CONSOLE", "0")]),
    "router.settings": ({"HOLD_SECONDS": 12}, [Place(f"{ROUTER} env:HOLD_SECONDS", "12")]),
    "router.drainSeconds": (
        122,
        [
            Place(f"{ROUTER} env:DRAIN_TIMEOUT", "122"),
            Place(f"{ROUTER} spec terminationGracePeriodSeconds", 142),
            Place("Deployment/-router spec progressDeadlineSeconds", 722),
        ],
    ),
    "router.allowUnauthenticated": (True, []),
    "router.remoteKeys.existingSecret": (
        "remote-secret",
        [Place(f"{ROUTER} from:CLOUD_KEY secretKeyRef name")],
    ),
    "router.remoteKeys.names": (["CLOUD_KEY"], [Place(f"{ROUTER} env:REMOTE_KEYS", "CLOUD_KEY")]),
    "router.tmpSize": ("123Mi", [Place(f"{ROUTER} spec volumes 0 emptyDir sizeLimit")]),
    "router.podDisruptionBudget.maxUnavailable": (
        2,
        [Place("PodDisruptionBudget/-router spec maxUnavailable")],
    ),
    "router.topologySpread": (
        ["rack"],
        [Place(f"{ROUTER} spec topologySpreadConstraints 0 topologyKey", "rack")],
    ),
    "router.service.type": ("NodePort", [Place("Service/-router spec type")]),
    "router.service.port": (
        8123,
        [
            Place("Service/-router spec ports 0 port"),
            Place(f"{TEST} env:BASE_URL", "http://whole-name-router:8123/v1"),
            Place("HTTPRoute/whole-name spec rules 0 backendRefs 0 port"),
        ],
    ),
    "router.service.annotations": (
        {"lb": "x"},
        [Place("Service/-router metadata annotations lb", "x")],
    ),
    "router.service.ipFamilyPolicy": (
        "PreferDualStack",
        [Place("Service/-router spec ipFamilyPolicy")],
    ),
    "router.service.ipFamilies": (
        ["IPv6", "IPv4"],
        [Place("Service/-router spec ipFamilies")],
    ),
    "server.userIds": (False, [Place(f"{OPERATOR} env:SERVER_USER_IDS", "0")]),
    "server.cpuImage": ("cpu:image", [Place(f"{OPERATOR} env:SERVER_IMAGE_CPU")]),
    "server.cuda.enabled": (True, []),
    "server.rocmImage": ("rocm:image", [Place(f"{OPERATOR} env:SERVER_IMAGE_ROCM")]),
    "server.intelImage": ("intel:image", [Place(f"{OPERATOR} env:SERVER_IMAGE_INTEL")]),
    "server.vllm.enabled": (True, []),
    "server.vllmImage": ("vllm:image", [Place(f"{OPERATOR} env:VLLM_IMAGE")]),
    "server.vllmRocmImage": ("vllm:rocm", [Place(f"{OPERATOR} env:VLLM_IMAGE_ROCM")]),
    "server.vllmIntelImage": ("vllm:intel", [Place(f"{OPERATOR} env:VLLM_IMAGE_INTEL")]),
    "server.env": ({"MAX_STOP": 9}, [Place(f"{PROFILES} default yaml env MAX_STOP", "9")]),
    "server.mirrors.pypiIndexUrl": (
        "https://pypi.test/simple",
        [Place(f"{PROFILES} default yaml env PIP_INDEX_URL")],
    ),
    "server.mirrors.pypiTrustedHost": (
        "pypi.test",
        [Place(f"{PROFILES} default yaml env PIP_TRUSTED_HOST")],
    ),
    "server.mirrors.hubEndpoint": (
        "https://hub.test",
        [Place(f"{PROFILES} default yaml env HF_ENDPOINT")],
    ),
    "server.fetchWeights": (
        False,
        [Place(f"{PROFILES} default yaml env AUTO_DOWNLOAD_MODELS", "0")],
    ),
    "profiles": (
        {"default": {"runtimeClassName": "kata"}, "l4": {"device": "cuda"}},
        [
            Place(f"{PROFILES} default yaml runtimeClassName", "kata"),
            Place(f"{PROFILES} l4 yaml device", "cuda"),
            Place(f"{PROFILES} l4 yaml env MAX_STOP", "9"),
        ],
    ),
    "catalog.models": (
        [{"model": "acme/encoder"}],
        [
            Place("ConfigMap/-catalog data catalog.yaml yaml models"),
            Place(f"{OPERATOR} env:CATALOG", "/etc/modelfleet/catalog.yaml"),
        ],
    ),
    "catalog.replace": (True, [Place("ConfigMap/-catalog data catalog.yaml yaml replace")]),
    "models": (
        {"mine": {"model": "a/b", "resources": {"requests": {"cpu": 0.5}}}},
        [
            Place(f"{MODELS} mine yaml spec model", "a/b"),
            Place(f"{TEST} env:EXPECTED", "1"),
            Place(f"{MODELS} mine yaml spec resources requests cpu", "0.5"),
        ],
    ),
    "modelCache.enabled": (
        True,
        [Place(f"{PROFILES} l4 yaml modelCache claim", "whole-name-models")],
    ),
    "modelCache.size": ("77Gi", [Place("PersistentVolumeClaim/ spec resources requests storage")]),
    "modelCache.storageClassName": (
        "fast",
        [Place("PersistentVolumeClaim/ spec storageClassName")],
    ),
    "modelCache.accessMode": (
        "ReadWriteOnce",
        [Place("PersistentVolumeClaim/ spec accessModes", ["ReadWriteOnce"])],
    ),
    "modelCache.keep": (
        False,
        [Place("PersistentVolumeClaim/ metadata annotations helm.sh/resource-policy", None)],
    ),
    "hfToken.existingSecret": ("hf-secret", [Place(f"{OPERATOR} env:HF_TOKEN_SECRET")]),
    "apiKeys.existingSecret": (
        "keys-secret",
        [
            Place(f"{ROUTER} spec volumes 1 secret secretName"),
            Place(f"{ROUTER} env:KEYS_FILE", "/etc/modelfleet/keys/keys.yaml"),
        ],
    ),
    "ingress.enabled": (True, []),
    "ingress.className": ("edge", [Place("Ingress/whole-name spec ingressClassName")]),
    "ingress.host": ("in.test", [Place("Ingress/whole-name spec rules 0 host")]),
    "ingress.paths": (["/in"], [Place("Ingress/whole-name spec rules 0 http paths 0 path", "/in")]),
    "ingress.tls": ([{"secretName": "tls-secret"}], [Place("Ingress/whole-name spec tls")]),
    "ingress.controller": (
        "openshift",
        [
            Place(
                "Ingress/whole-name metadata annotations haproxy.router.openshift.io/timeout",
                "3600s",
            )
        ],
    ),
    "ingress.annotations": (
        {"in": "x"},
        [Place("Ingress/whole-name metadata annotations in", "x")],
    ),
    "httpRoute.enabled": (True, []),
    "httpRoute.parentRefs": ([{"name": "gate"}], [Place("HTTPRoute/whole-name spec parentRefs")]),
    "httpRoute.hostnames": (["route.test"], [Place("HTTPRoute/whole-name spec hostnames")]),
    "httpRoute.paths": (
        ["/route"],
        [Place("HTTPRoute/whole-name spec rules 0 matches 0 path value", "/route")],
    ),
    "httpRoute.filters": (
        [{"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": ["x-a"]}}],
        [Place("HTTPRoute/whole-name spec rules 0 filters")],
    ),
    "httpRoute.timeouts": (
        {"request": "5m", "backendRequest": "4m"},
        [Place("HTTPRoute/whole-name spec rules 0 timeouts")],
    ),
    "httpRoute.annotations": (
        {"route": "x"},
        [Place("HTTPRoute/whole-name metadata annotations route", "x")],
    ),
    "networkPolicy.clients": (
        [{"podSelector": {"matchLabels": {"who": "client"}}}],
        [
            Place(
                "NetworkPolicy/-router spec ingress 0 from 1",
                {"podSelector": {"matchLabels": {"who": "client"}}},
            )
        ],
    ),
    "networkPolicy.metrics": (
        [{"podSelector": {"matchLabels": {"who": "prometheus"}}}],
        [
            Place("NetworkPolicy/-operator spec ingress 0 from"),
            Place(
                "NetworkPolicy/-models spec ingress 0 from 2",
                {"podSelector": {"matchLabels": {"who": "prometheus"}}},
            ),
        ],
    ),
    "networkPolicy.apiServerPorts": (
        [6111],
        [
            Place(f"NetworkPolicy/-{name} spec egress 1 ports 0 port", 6111)
            for name in ("operator", "router")
        ],
    ),
    "networkPolicy.dnsPorts": (
        [5353],
        [
            Place(f"NetworkPolicy/-{name} spec egress 0 ports 0 port", 5353)
            for name in ("operator", "router", "models", "prefetch", "test")
        ],
    ),
    "networkPolicy.weightsPorts": (
        [6222],
        [],  # without `server.fetchWeights` there is no such rule
    ),
    "networkPolicy.modelClients": (
        [{"namespaceSelector": {"matchLabels": {"gateway": "chosen"}}}],
        [
            Place(
                "NetworkPolicy/-models spec ingress 0 from 3 namespaceSelector matchLabels gateway",
                "chosen",
            )
        ],
    ),
    "networkPolicy.routerEgress": (
        [{"to": [{"ipBlock": {"cidr": "192.0.2.1/32"}}]}],
        [
            Place("NetworkPolicy/-router spec egress 3 to 0 ipBlock cidr", "192.0.2.1/32"),
            Place("NetworkPolicy/-operator spec egress 4 to 0 ipBlock cidr", "192.0.2.1/32"),
        ],
    ),
    "networkPolicy.modelEgress": (
        [{"to": [{"ipBlock": {"cidr": "192.0.2.2/32"}}]}],
        [
            Place(f"NetworkPolicy/-{name} spec egress 1 to 0 ipBlock cidr", "192.0.2.2/32")
            for name in ("models", "prefetch")
        ],
    ),
    "monitoring.serviceMonitor.enabled": (True, []),
    "monitoring.serviceMonitor.interval": (
        "31s",
        [
            Place(f"ServiceMonitor/-{name} spec endpoints 0 interval")
            for name in ("operator", "router")
        ],
    ),
    "monitoring.serviceMonitor.labels": (
        {"release": "service"},
        [Place("ServiceMonitor/-router metadata labels release", "service")],
    ),
    "monitoring.podMonitor.enabled": (True, []),
    "monitoring.podMonitor.interval": (
        "32s",
        [Place("PodMonitor/ spec podMetricsEndpoints 0 interval")],
    ),
    "monitoring.podMonitor.labels": (
        {"release": "pod"},
        [Place("PodMonitor/ metadata labels release", "pod")],
    ),
    "monitoring.prometheusRule.enabled": (True, []),
    "monitoring.prometheusRule.labels": (
        {"release": "rule"},
        [Place("PrometheusRule/ metadata labels release", "rule")],
    ),
    "monitoring.dashboards.enabled": (True, []),
    "monitoring.dashboards.labels": (
        {"grafana": "yes"},
        [Place("ConfigMap/-dashboard-models metadata labels grafana", "yes")],
    ),
    "monitoring.dashboards.annotations": (
        {"folder": "fleet"},
        [Place("ConfigMap/-dashboard-models metadata annotations folder", "fleet")],
    ),
    "crds.enabled": (True, []),
    "crds.keep": (
        False,
        [
            Place(
                "CustomResourceDefinition/ metadata annotations helm.sh/resource-policy", None
            )
        ],
    ),
    "crds.adopt": (True, [Place("CustomResourceDefinition/ spec group", "modelfleet.dev")]),
    **HELM_TEST,
    "liveReload": (False, []),
}  # fmt: skip
