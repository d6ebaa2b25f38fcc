"""Pod templates that an InferenceModel may and may not set where they are restricted.

The check of the operator and the admission policy are tested with the same cases.
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def of_pod(**fields: Any) -> Json:
    """A template with these fields of the PodSpec."""
    return {"spec": fields}


def of_server(**fields: Any) -> Json:
    """A template with these fields of the server's container."""
    return of_pod(containers=[{"name": "server", **fields}])


def of_init(**fields: Any) -> Json:
    """A template with an init container."""
    return of_pod(initContainers=[{"name": "init", "image": "busybox", **fields}])


def of_volume(**source: Any) -> Json:
    """A template with one volume."""
    return of_pod(volumes=[{"name": "more", **source}])


def env_from(**source: Any) -> Json:
    """A template with one variable of the server that refers elsewhere."""
    return of_server(env=[{"name": "A", "valueFrom": source}])


SECRET = {"name": "other", "key": "k"}
REFUSED: dict[str, tuple[Json, str]] = {
    "another ServiceAccount": (of_pod(serviceAccountName="operator"), "serviceAccountName"),
    "its old name": (of_pod(serviceAccount="operator"), "serviceAccount"),
    "a token": (of_pod(automountServiceAccountToken=True), "automountServiceAccountToken"),
    "a token by default": (
        of_pod(automountServiceAccountToken=None), "automountServiceAccountToken",
    ),
    "a whole new PodSpec": (
        {"spec": {"$patch": "replace", "containers": [{"name": "server", "image": "a"}]}},
        r"spec\.\$patch",
    ),
    "a whole new template": (
        {"$patch": "replace", "spec": {"containers": [{"name": "server", "image": "a"}]}},
        r"podTemplate\.\$patch",
    ),
    "a volume of a Secret": (of_volume(secret={"secretName": "other"}), r"volumes.*\.secret"),
    "a projected volume": (
        of_volume(projected={"sources": [{"serviceAccountToken": {"path": "token"}}]}),
        r"volumes.*\.projected",
    ),
    "a folder of the node": (of_volume(hostPath={"path": "/"}), r"volumes.*\.hostPath"),
    "an inline CSI volume": (of_volume(csi={"driver": "any.csi"}), r"volumes.*\.csi"),
    "a volume from the network": (
        of_volume(nfs={"server": "192.0.2.1", "path": "/"}), r"volumes.*\.nfs",
    ),
    "a variable from a Secret": (env_from(secretKeyRef=SECRET), r"env\[.*valueFrom"),
    "an init container's variable from a Secret": (
        of_init(env=[{"name": "A", "valueFrom": {"secretKeyRef": SECRET}}]), r"env\[.*valueFrom",
    ),
    "all variables of a Secret": (
        of_server(envFrom=[{"secretRef": {"name": "other"}}]), r"envFrom\[",
    ),
    "a node": (of_pod(nodeName="node-a"), "nodeName"),
    "the node's network": (of_pod(hostNetwork=True), "hostNetwork"),
    "the node's processes": (of_pod(hostPID=True), "hostPID"),
    "the node's IPC": (of_pod(hostIPC=True), "hostIPC"),
    "other containers' processes": (of_pod(shareProcessNamespace=True), "shareProcessNamespace"),
    "a debug container": (
        of_pod(ephemeralContainers=[{"name": "debug", "image": "a"}]), "ephemeralContainers",
    ),
    "an unknown field": (of_pod(fieldOfTheFuture=1), "fieldOfTheFuture"),
    "a privileged server": (of_server(securityContext={"privileged": True}), "privileged"),
    "a privileged init container": (of_init(securityContext={"privileged": True}), "privileged"),
    "a capability": (
        of_server(securityContext={"capabilities": {"add": ["SYS_ADMIN"]}}), r"capabilities\.add",
    ),
    "all capabilities": (
        of_server(securityContext={"capabilities": {"add": ["CHOWN", "ALL"]}}),
        r"capabilities\.add",
    ),
    "unmasked /proc": (of_server(securityContext={"procMount": "Unmasked"}), "procMount"),
    "an SELinux type": (
        of_server(securityContext={"seLinuxOptions": {"type": "spc_t"}}), "seLinuxOptions",
    ),
    "no seccomp": (
        of_server(securityContext={"seccompProfile": {"type": "Unconfined"}}), "securityContext",
    ),
    "no seccomp for the pod": (
        of_pod(securityContext={"seccompProfile": {"type": "Unconfined"}}), "securityContext",
    ),
    "a kernel parameter": (
        of_pod(securityContext={"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}), "sysctls",
    ),
    "no AppArmor": (
        of_server(securityContext={"appArmorProfile": {"type": "Unconfined"}}), "securityContext",
    ),
    "no AppArmor by annotation": (
        {"metadata": {"annotations": {
            "container.apparmor.security.beta.kubernetes.io/server": "unconfined"}}},
        r"metadata\.annotations",
    ),
    "a port of the node": (
        of_server(ports=[{"containerPort": 9000, "hostPort": 9000}]), r"ports\[",
    ),
    "an address of the node": (
        of_server(ports=[{"containerPort": 9000, "hostIP": "127.0.0.1"}]), r"ports\[",
    ),
    "a probe of another host": (
        of_server(readinessProbe={"httpGet": {"host": "192.0.2.1", "port": 80}}), "host",
    ),
    "a hook to another host": (
        of_server(lifecycle={"postStart": {"httpGet": {"host": "192.0.2.1", "port": 80}}}), "host",
    ),
    "labels of the release's routers": (
        {"metadata": {"labels": {"app.kubernetes.io/component": "router"}}}, r"metadata\.labels",
    ),
    "labels of another model": (
        {"metadata": {"labels": {"modelfleet.dev/inferencemodel": "other"}}}, r"metadata\.labels",
    ),
    "a finalizer": ({"metadata": {"finalizers": ["example.com/a"]}}, r"metadata\.finalizers"),
    "an owner": ({"metadata": {"ownerReferences": []}}, r"metadata\.ownerReferences"),
}  # fmt: skip
"""Templates, and a pattern in the message."""

MALFORMED: dict[str, Json] = {
    "a PodSpec that is a list": {"spec": []},
    "containers that are an object": of_pod(containers={"server": {}}),
    "a container that is a text": of_pod(containers=["server"]),
    "volumes that are a number": of_pod(volumes=1),
    "a security context that is a list": of_server(securityContext=["privileged"]),
    "variables that are a text": of_server(env="A"),
}
"""Refused without a certain message."""

ALLOWED: dict[str, Json] = {
    "nothing": {},
    "labels and annotations": {
        "metadata": {
            "labels": {"team": "a", "app.kubernetes.io/part-of": "shop"},
            "annotations": {"sidecar.istio.io/inject": "false"},
        }
    },
    "volumes": of_pod(
        volumes=[
            {"name": "shm", "emptyDir": {"medium": "Memory"}},
            {"name": "config", "configMap": {"name": "config"}},
            {"name": "data", "persistentVolumeClaim": {"claimName": "data"}},
            {"name": "info", "downwardAPI": {"items": []}},
            {"name": "models", "$patch": "delete"},
        ]
    ),
    "a sidecar": of_pod(
        containers=[
            {
                "name": "proxy", "image": "proxy:1", "args": ["-v"],
                "ports": [{"containerPort": 9000, "name": "proxy", "protocol": "TCP"}],
                "env": [
                    {"name": "A", "value": "b"},
                    {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
                    {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}},
                ],
                "envFrom": [{"prefix": "P_", "configMapRef": {"name": "c"}}],
                "readinessProbe": {"httpGet": {"path": "/", "port": 9000}},
                "lifecycle": {"preStop": {"exec": {"command": ["sync"]}}},
                "securityContext": {
                    "runAsUser": 0, "runAsNonRoot": False, "privileged": False,
                    "capabilities": {"add": ["NET_BIND_SERVICE"], "drop": ["ALL"]},
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
            }
        ],
        initContainers=[{"name": "chown", "image": "busybox:1", "command": ["true"]}],
    ),
    "what is off": of_pod(
        hostNetwork=False, hostPID=False, hostIPC=False, automountServiceAccountToken=False,
        shareProcessNamespace=False, hostUsers=False,
    ),
    "scheduling": of_pod(
        schedulerName="volcano", nodeSelector={"a": "b"}, tolerations=[], affinity={},
        priorityClassName="low", terminationGracePeriodSeconds=600, topologySpreadConstraints=[],
        securityContext={"runAsUser": 1000, "fsGroup": 1000, "supplementalGroups": [44]},
        imagePullSecrets=[{"name": "own"}], runtimeClassName="nvidia", hostAliases=[],
    ),
    "what removes fields": of_pod(
        containers=[{
            "name": "server", "livenessProbe": None, "securityContext": None,
            "ports": [{"containerPort": 8000, "hostPort": 0}],
        }],
        topologySpreadConstraints=None, volumes=None,
    ),
}  # fmt: skip
