"""Fields of `podTemplate` that an InferenceModel may set where the platform restricts them.

The author of an InferenceModel must not gain the rights of another ServiceAccount, the content of
Secrets or power over a node. Everything that is not listed here is refused, so that a field that
Kubernetes adds is refused until it is known. The limits of containers are those of the Pod Security
Standard "baseline" (kubernetes.io/docs/concepts/security/pod-security-standards). Templates of
profiles and of the catalog belong to the platform and are not restricted.

fleet_contract.policy.admission expresses the same tables in CEL.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

RESTRICTED = "restricted"
FULL = "full"
MODES = (RESTRICTED, FULL)
"""Values of POD_TEMPLATES and of the chart's `podTemplates`."""

HINT = "set it in a profile, or open it for all models with podTemplates=full"

TEMPLATE_FIELDS = ("metadata", "spec")
METADATA_FIELDS = ("labels", "annotations")
LABELS = (
    "app.kubernetes.io/name",
    "app.kubernetes.io/instance",
    "app.kubernetes.io/component",
    "app.kubernetes.io/managed-by",
)
"""Labels that select the pods of a release in Services and NetworkPolicies; refused."""
LABEL_PREFIX = "modelfleet.dev/"
APPARMOR_PREFIX = "container.apparmor.security.beta.kubernetes.io/"

POD_FIELDS = (
    "affinity", "containers", "dnsConfig", "dnsPolicy", "enableServiceLinks", "hostAliases",
    "hostname", "imagePullSecrets", "initContainers", "nodeSelector", "preemptionPolicy",
    "priorityClassName", "readinessGates", "resourceClaims", "resources", "restartPolicy",
    "runtimeClassName", "schedulerName", "schedulingGates", "securityContext", "setHostnameAsFQDN",
    "subdomain", "terminationGracePeriodSeconds", "tolerations", "topologySpreadConstraints",
    "volumes",
)  # fmt: skip
FALSE_POD_FIELDS = (
    "automountServiceAccountToken", "hostIPC", "hostNetwork", "hostPID", "hostUsers",
    "shareProcessNamespace",
)  # fmt: skip
"""Fields that may be false only."""
POD_SECURITY_FIELDS = (
    "appArmorProfile", "fsGroup", "fsGroupChangePolicy", "runAsGroup", "runAsNonRoot", "runAsUser",
    "seccompProfile", "supplementalGroups", "supplementalGroupsPolicy",
)  # fmt: skip
VOLUME_FIELDS = (
    "$patch", "configMap", "downwardAPI", "emptyDir", "ephemeral", "image", "name",
    "persistentVolumeClaim",
)  # fmt: skip

CONTAINER_LISTS = ("containers", "initContainers")
CONTAINER_FIELDS = (
    "$patch", "args", "command", "env", "envFrom", "image", "imagePullPolicy", "lifecycle",
    "livenessProbe", "name", "ports", "readinessProbe", "resizePolicy", "resources",
    "restartPolicy", "securityContext", "startupProbe", "stdin", "stdinOnce",
    "terminationMessagePath", "terminationMessagePolicy", "tty", "volumeDevices", "volumeMounts",
    "workingDir",
)  # fmt: skip
SECURITY_FIELDS = (
    "allowPrivilegeEscalation", "appArmorProfile", "capabilities", "privileged",
    "readOnlyRootFilesystem", "runAsGroup", "runAsNonRoot", "runAsUser", "seccompProfile",
)  # fmt: skip
CAPABILITIES = (
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD",
    "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
)  # fmt: skip
PROFILE_TYPES = ("RuntimeDefault", "Localhost")
ENV_SOURCES = ("configMapKeyRef", "fieldRef", "resourceFieldRef")
ENV_FROM_FIELDS = ("configMapRef", "prefix")
PORT_FIELDS = ("$patch", "containerPort", "hostPort", "name", "protocol")
PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
HANDLERS = ("postStart", "preStop")
REQUESTS = ("httpGet", "tcpSocket")
"""Requests that the kubelet sends for a probe or hook; with a `host`, to any address."""


def parse_mode(text: str) -> str:
    """A value of POD_TEMPLATES. Raises ValueError."""
    if text not in MODES:
        raise ValueError(f"must be {' or '.join(MODES)}")
    return text


class _Refused(Exception):
    """The message is the path of a field, and what is wrong with it."""


def refusal(spec: Mapping[str, Any]) -> str | None:
    """Why the `spec` of an InferenceModel sets more than it may; None if it does not."""
    try:
        template = spec.get("podTemplate")
        if template is not None:
            _check_template(template)
    except _Refused as refused:
        return f"{refused}; {HINT}"
    return None


def _check_template(template: Any) -> None:
    at = "podTemplate"
    _only(template, TEMPLATE_FIELDS, at)
    metadata = _object(template, "metadata", at)
    _only(metadata, METADATA_FIELDS, f"{at}.metadata")
    for label in _object(metadata, "labels", f"{at}.metadata"):
        if label in LABELS or label.startswith(LABEL_PREFIX):
            raise _Refused(f"{at}.metadata.labels: {label} is set by the operator only")
    for key in _object(metadata, "annotations", f"{at}.metadata"):
        if key.startswith(APPARMOR_PREFIX):
            raise _Refused(f"{at}.metadata.annotations: {key} is not allowed")
    _check_pod(_object(template, "spec", at), f"{at}.spec")


def _check_pod(pod: Mapping[str, Any], at: str) -> None:
    _only(pod, POD_FIELDS + FALSE_POD_FIELDS, at)
    for name in FALSE_POD_FIELDS:
        if name in pod and pod[name] is not False:
            raise _Refused(f"{at}.{name} may be false only")
    security = _object(pod, "securityContext", at)
    _only(security, POD_SECURITY_FIELDS, f"{at}.securityContext")
    _check_profiles(security, f"{at}.securityContext")
    for i, volume in enumerate(_objects(pod, "volumes", at)):
        _only(volume, VOLUME_FIELDS, f"{at}.volumes[{i}]")
    for kind in CONTAINER_LISTS:
        for i, container in enumerate(_objects(pod, kind, at)):
            _check_container(container, f"{at}.{kind}[{i}]")


def _check_container(container: Mapping[str, Any], at: str) -> None:
    _only(container, CONTAINER_FIELDS, at)
    security = _object(container, "securityContext", at)
    _only(security, SECURITY_FIELDS, f"{at}.securityContext")
    if security.get("privileged") not in (None, False):
        raise _Refused(f"{at}.securityContext.privileged may be false only")
    capabilities = _object(security, "capabilities", f"{at}.securityContext")
    for name in _list(capabilities, "add", f"{at}.securityContext.capabilities"):
        if name not in CAPABILITIES:
            raise _Refused(f"{at}.securityContext.capabilities.add: {name} is not allowed")
    _check_profiles(security, f"{at}.securityContext")
    for i, variable in enumerate(_objects(container, "env", at)):
        source = _object(variable, "valueFrom", f"{at}.env[{i}]")
        _only(source, ENV_SOURCES, f"{at}.env[{i}].valueFrom")
    for i, source in enumerate(_objects(container, "envFrom", at)):
        _only(source, ENV_FROM_FIELDS, f"{at}.envFrom[{i}]")
    for i, port in enumerate(_objects(container, "ports", at)):
        _only(port, PORT_FIELDS, f"{at}.ports[{i}]")
        if port.get("hostPort") not in (None, 0):
            raise _Refused(f"{at}.ports[{i}].hostPort is not allowed")
    handlers = [(name, container, at) for name in PROBES]
    lifecycle = _object(container, "lifecycle", at)
    handlers += [(name, lifecycle, f"{at}.lifecycle") for name in HANDLERS]
    for name, parent, where in handlers:
        handler = _object(parent, name, where)
        for request in REQUESTS:
            if _object(handler, request, f"{where}.{name}").get("host") not in (None, ""):
                raise _Refused(f"{where}.{name}.{request}.host is not allowed")


def _check_profiles(security: Mapping[str, Any], at: str) -> None:
    for name in ("seccompProfile", "appArmorProfile"):
        kind = _object(security, name, at).get("type")
        if kind is not None and kind not in PROFILE_TYPES:
            raise _Refused(f"{at}.{name}.type: {kind} is not allowed")


def _only(fields: Any, allowed: Sequence[str], at: str) -> None:
    """Raises _Refused unless `fields` is an object with allowed fields only."""
    if not isinstance(fields, Mapping):
        raise _Refused(f"{at} must be an object")
    for name in fields:
        if name not in allowed:
            raise _Refused(f"{at}.{name} is not allowed")


def _object(parent: Mapping[str, Any], name: str, at: str) -> Mapping[str, Any]:
    """The object `name`; null, which removes a field, counts as empty. Raises _Refused."""
    value = parent.get(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise _Refused(f"{at}.{name} must be an object")
    return value


def _list(parent: Mapping[str, Any], name: str, at: str) -> Sequence[Any]:
    """The list `name`; null, which removes a field, counts as empty. Raises _Refused."""
    value = parent.get(name)
    if value is None:
        return ()
    if not isinstance(value, list):
        raise _Refused(f"{at}.{name} must be a list")
    return value


def _objects(parent: Mapping[str, Any], name: str, at: str) -> Iterator[Mapping[str, Any]]:
    """The items of the list `name`, which must be objects. Raises _Refused."""
    for i, item in enumerate(_list(parent, name, at)):
        if not isinstance(item, Mapping):
            raise _Refused(f"{at}.{name}[{i}] must be an object")
        yield item
