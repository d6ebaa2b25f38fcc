"""Every environment variable: name, default, meaning, and the spec field it overrides.

A setting with a `field` overrides that field of the ModelSpec a server is started with; one
without is read by the commands named in `where`. docs/settings.md is generated from this table.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from fleet_contract.claims import read_prefixes
from fleet_contract.policy import pod_templates, remote_keys
from fleet_contract.safe_text import redacted
from fleet_contract.spec import ModelSpec, Task

TRUE = frozenset({"1", "true", "yes", "on"})
FALSE = frozenset({"0", "false", "no", "off"})


_UNITS = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40,
          "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}  # fmt: skip
_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,18})?)((?:(?:[KMGT]i|[kKMGT])B?)?|%)")


def parse_bool(text: str) -> bool:
    """`1/true/yes/on` or `0/false/no/off`, any case. Raises ValueError otherwise."""
    lowered = text.strip().lower()
    if lowered in TRUE:
        return True
    if lowered in FALSE:
        return False
    raise ValueError(f"{text!r} is neither true (1, true, yes, on) nor false (0, false, no, off)")


def parse_switch(text: str) -> bool | None:
    """As `parse_bool`, or None for `auto`."""
    return None if text.strip().lower() == "auto" else parse_bool(text)


def parse_size(text: str) -> float:
    """A number of bytes such as `8Gi`, `5.6G` or `1000000`, or of `N%` the share, which is below 1.
    Raises ValueError."""
    found = _SIZE.fullmatch(text.strip())
    if found is not None:
        number, unit = Decimal(found[1]), found[2]
        if unit == "%":
            if 0 < number < 100:
                return float(number / 100)
        elif unit or number == int(number):  # 5.6 lacks its unit
            size = int(number * _UNITS.get(unit.removesuffix("B"), 1))
            if 0 < size < 1 << 60:
                return size
    raise ValueError(f"{text!r} is neither a number of bytes nor a share, such as 8Gi and 80%")


def parse_list(text: str) -> list[str]:
    """Comma-separated entries, stripped and without duplicates."""
    return list(dict.fromkeys(each.strip() for each in text.split(",") if each.strip()))


PODS, SERVICES = "pods", "services"
"""Values of UPSTREAMS."""


def _upstreams(text: str) -> str:
    if text not in (PODS, SERVICES):
        raise ValueError(f"must be {PODS} or {SERVICES}")
    return text


def _sink(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or not text.isprintable():
        raise ValueError("must be an http(s) address")
    _ = parts.port  # which raises ValueError for another text than the number of one
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not contain credentials; use USAGE_SINK_TOKEN")
    return text


_OWN: Any = object()


@dataclass(frozen=True, slots=True)
class Setting:
    """One environment variable.

    `field` is a dotted path into ModelSpec (Python names); `tasks` limits it to models of those
    tasks (all when empty).
    """

    name: str
    meaning: str
    default: str
    parse: Callable[[str], Any] = str
    field: str | None = None
    tasks: frozenset[Task] = frozenset()
    where: str = "server"

    def read(self, environ: Mapping[str, str], default: Any = _OWN) -> Any:
        """The parsed value; `default`, or else the setting's own default, where none is set.

        An empty value counts as not set. Raises ValueError that names the variable, without secrets
        in addresses.
        """
        raw = environ.get(self.name, "").strip()
        if not raw:
            if default is not _OWN:
                return default
            raw = self.default
        try:
            return self.parse(raw)
        except ValueError as error:
            raise ValueError(redacted(f"{self.name}={raw!r}: {error}")) from error


CHAT = frozenset({Task.CHAT})
VECTORS = frozenset({Task.EMBEDDING, Task.RERANK})
SPEECH = frozenset({Task.SPEECH})

SETTINGS: tuple[Setting, ...] = (
    Setting("MODELS", "ids or aliases of the catalog models to serve, comma-separated",
            "the three demo models", where="up, pull"),
    Setting("MODEL_DEVICE", "`auto`, `cpu`, `mps`, `cuda`, `cuda:N`, and Intel's `gpu`, `gpu:N` and"
            " `npu`", "auto", field="device", where="up, server"),
    Setting("QUANTIZATION", "number format weights are converted to: `auto`, `none`, `int8` or"
            " `int4`", "int8 for chat and speech on a CPU", field="quantization",
            tasks=CHAT | SPEECH, where="up, pull, server"),
    Setting("AUTO_DOWNLOAD_MODELS", "fetch missing weights at start; 0 requires them on disk", "1",
            parse_bool, where="up, server"),
    Setting("MODELS_DIR", "folder of the weights", "models", where="up, pull, server"),
    Setting("MODELS_DIR_LIMIT", "maximum bytes in MODELS_DIR, or the share of its disk that may be"
            " used, such as `80%`; before a download or a conversion, the least recently used"
            " models that no process uses are deleted", "none", parse_size,
            where="up, pull, server"),
    Setting("MEMORY_BUDGET", "memory that the servers of a fleet may take together: bytes such as"
            " `8Gi`, or a share of what is available when it starts", "70%", parse_size,
            where="up"),
    Setting("ON_DEMAND", "fetch and start every model at its first request, except those with"
            " `minReplicas`", "0", parse_bool, where="up"),
    Setting("HF_HOME", "folder of the weights where MODELS_DIR is not set", "",
            where="up, pull, server"),
    Setting("HF_HUB_CACHE", "cache of the hub's own library; complete models in it are used,"
            " nothing is written to it", "`hub` in HF_HOME, else in ~/.cache/huggingface",
            where="up, pull, server"),
    Setting("HF_ENDPOINT", "address of the hub or of a mirror", "the public hub",
            where="up, pull, server"),
    Setting("HF_TOKEN", "token for gated repositories; used for downloads only", "",
            where="up, pull, server"),
    Setting("INSECURE_REGISTRIES", "registries of `oci://` sources that are reached over http, as"
            " host or host:port, comma-separated; those on the loopback interface always are",
            "", parse_list, where="up, pull, server"),
    Setting("TORCH_INDEX_URL", "package index of PyTorch for `make up TORCH=1`",
            "PyTorch's CPU index on Linux without an NVIDIA GPU", where="make"),
    Setting("CUDA_VISIBLE_DEVICES", "GPUs visible to a server; read by CUDA itself", "all",
            where="server"),
    Setting("BASE_URL", "address of the server to measure or to use", "http://127.0.0.1:8000",
            where="bench, chat, embed, transcribe, top, status"),
    Setting("MODEL_NAME", "ids of the models to measure, comma-separated",
            "the first in /v1/models with the task", where="bench"),
    Setting("PROMPT", "prompt of every chat request", "distinct prompts", where="bench"),
    Setting("N_REQUESTS", "total number of requests", "chosen by the benchmark", int,
            where="bench"),
    Setting("CONCURRENCY", "concurrent requests", "chosen by the benchmark", where="bench"),
    Setting("HOST", "address the router listens on; `::` for all addresses, of IPv6 and IPv4",
            "127.0.0.1", where="up, router"),
    Setting("PORT", "port the router listens on", "8000", int, where="up, router"),
    Setting("SSL_CERT_FILE", "file of certificate authorities to trust instead of the public ones;"
            " read by OpenSSL", "those of the system", where="all"),
    Setting("LOG_LEVEL", "`debug`, `info`, `warning` or `error`", "info", where="all"),
    Setting("LOG_FORMAT", "`json` or `text`", "json", where="all"),
    Setting("ENABLE_METRICS", "serve `/metrics`", "1", parse_bool, where="server, router"),
    Setting("ENABLE_CONSOLE", "serve the console, a page that shows the fleet, at `/`", "1",
            parse_bool, where="router"),
    Setting("MODELFLEET_THREADS", "threads of an engine", "the CPU quota of the process", int),
    Setting("DRAIN_TIMEOUT", "seconds running requests have to finish after SIGTERM", "30", float,
            where="server, router"),
    Setting("READ_TIMEOUT", "seconds in which a request's head must arrive, and over which"
            " READ_RATE is measured; also seconds without progress in reading a response", "30",
            float, where="server, router"),
    Setting("READ_RATE", "minimum bytes of a request's body per second; 0 accepts any progress",
            "1024", float, where="server, router"),
    Setting("BODY_TIMEOUT", "seconds a client may take to send a request's body", "600", float,
            where="server, router"),
    Setting("KEEP_ALIVE_SECONDS", "seconds an idle client connection stays open; must exceed that"
            " of a proxy in front", "75", int, where="server, router"),
    Setting("HOLD_SECONDS", "seconds a request waits for a model without a server",
            "300 on a cluster and for models that start on demand, 10 elsewhere", float,
            where="router"),
    Setting("HOLD_REQUESTS", "requests that may wait for one model without a server; more get a"
            " 429", "100", int, where="router"),
    Setting("HEARTBEAT_SECONDS", "seconds after which a waiting stream is opened, and between the"
            " comments sent on it; 0 sends nothing until the first event", "15", float,
            where="server, router"),
    Setting("KEYS_FILE", "file of accepted API keys; without it no key is required", "none",
            where="router"),
    Setting("ALLOW_UNAUTHENTICATED", "serve an address other than loopback without API keys", "0",
            parse_bool, where="up, router"),
    Setting("ALLOWED_HOSTS", "names accepted in `Host` besides localhost on a loopback address"
            " without API keys, comma-separated; `*` for all", "none", where="router"),
    Setting("METRICS_PORT", "second port of the router, for `/metrics`, `/load` and `/health`"
            " without a key; the first two are then not on PORT", "none", int, where="router"),
    Setting("USAGE_LOG", "file to which the usage of each request is appended as a JSON line",
            "none", where="router"),
    Setting("USAGE_LOG_MAX_BYTES", "size at which USAGE_LOG is renamed to `<name>.1`, up to `.9`; 0"
            " leaves that to logrotate", "104857600", int, where="router"),
    Setting("USAGE_SINK", "http(s) address to which the usage of each request is sent as a"
            " CloudEvent, in batches", "none", _sink, where="router"),
    Setting("USAGE_SINK_TOKEN", "bearer token for USAGE_SINK", "", where="router"),
    Setting("CORS_ORIGINS", "origins allowed to call from a browser, comma-separated; `*` for all",
            "none", where="router"),
    Setting("TRANSCRIPTION_MODEL", "id of the speech model that transcribes recordings in chats",
            "the only one of the fleet", where="router"),
    Setting("TLS_CERT", "certificate chain to serve HTTPS with", "none", where="router"),
    Setting("TLS_KEY", "private key of TLS_CERT", "none", where="router"),
    Setting("REMOTE_KEYS", "environment variables that models of `engine: remote` may use as API"
            " key: a JSON list of `{name, addresses, namespaces}`, or names, comma-separated, for"
            " every https address", "none", remote_keys.parse,
            where="router, operator"),
    Setting("UPSTREAMS", "on a cluster, `pods`: requests go to the address of the least loaded"
            " server; `services`: to the Service of the model, for meshes that encrypt only that"
            " traffic", PODS, _upstreams, where="router"),
    Setting("MAX_BODY_BYTES", "largest JSON body in bytes",
            "8388608; 67108864 where it may contain images", int, "limits.max_body_bytes"),
    Setting("MAX_AUDIO_BYTES", "largest uploaded recording in bytes", "26214400", int,
            "limits.max_audio_bytes", SPEECH),
    Setting("MAX_AUDIO_SECONDS", "maximum seconds of a decoded recording", "14400", int,
            "limits.max_audio_seconds", SPEECH),
    Setting("MAX_SCRATCH_BYTES", "maximum bytes that recordings of all requests take in memory and"
            " temporary files; more get a 429", "4294967296", int, "limits.max_scratch_bytes",
            SPEECH),
    Setting("MAX_CONCURRENT", "concurrent forward passes, each on the whole device",
            "chosen by the engine", int, "limits.max_concurrent"),
    Setting("MAX_QUEUE_SIZE", "requests that may wait; more get a 429", "256", int,
            "limits.max_queue_size"),
    Setting("QUEUE_SHARE", "share of the queue that one caller may fill while others have requests"
            " here", "0.5", float, "limits.queue_share"),
    Setting("MAX_BATCH_SIZE", "maximum embedding inputs or rerank documents in one request", "2048",
            int, "limits.max_items", VECTORS),
    Setting("MAX_ITEMS", "another name of MAX_BATCH_SIZE; takes precedence over it", "2048", int,
            "limits.max_items", VECTORS),
    Setting("PASS_SIZE", "maximum embedding inputs or rerank documents in one forward pass", "32",
            int, "batching.pass_size", VECTORS),
    Setting("MAX_TEXT_CHARS", "maximum characters of one text", "1000000", int,
            "limits.max_text_chars"),
    Setting("MAX_REQUEST_CHARS", "maximum characters, or token ids, of all texts of one request",
            "4000000", int, "limits.max_request_chars", VECTORS),
    Setting("TRUNCATE_INPUTS", "truncate inputs longer than the model's context where the request"
            " does not set `truncate`", "0", parse_bool, "limits.truncate_inputs", VECTORS),
    Setting("EXTRA_SAMPLING", "accept `top_k`, `min_p` and `repetition_penalty`, which OpenAI's API"
            " does not have", "0", parse_bool, "limits.extra_sampling", CHAT),
    Setting("MAX_STOP", "maximum stop strings in one request", "32", int, "limits.max_stop", CHAT),
    Setting("REQUEST_TIMEOUT", "seconds a running request may take", "600", float,
            "limits.request_timeout"),
    Setting("MAX_NEW_TOKENS", "new tokens where neither request nor model sets a maximum", "512",
            int, "defaults.max_tokens", CHAT),
    Setting("CHAT_MAX_PROMPT_TOKENS", "maximum tokens of a chat prompt", "the model's context", int,
            "limits.max_prompt_tokens", CHAT),
    Setting("CHAT_MAX_NEW_TOKENS", "maximum new tokens that a request may set",
            "the model's context", int, "limits.max_new_tokens", CHAT),
    Setting("ENABLE_CHAT_BATCHING", "batch chat requests", "1", parse_bool, "batching.enabled",
            CHAT),
    Setting("CHAT_BATCH_MAX_SIZE", "maximum chat requests in one batch", "chosen by the engine",
            int, "batching.max_size", CHAT),
    Setting("CHAT_BATCH_ALLOW_VISION", "batch chat requests with images too", "0", parse_bool,
            "batching.allow_vision", CHAT),
    Setting("KV_CACHE_GIB", "GiB of key/value cache for chat", "", float, "cache.kv_gib", CHAT),
    Setting("GPU_MEMORY", "share of a GPU's memory for `engine: vllm`, 0..1", "0.9", float,
            "cache.gpu_memory", CHAT),
    Setting("ENABLE_BATCHING", "batch requests", "1", parse_bool, "batching.enabled",
            VECTORS),
    Setting("BATCH_WINDOW_MS", "milliseconds a request waits for more requests to batch",
            "0", float, "batching.window_ms", VECTORS),
    Setting("BATCH_WINDOW_MAX_SIZE", "maximum requests in one batch", "unlimited", int,
            "batching.max_size", VECTORS),
    Setting("EMBEDDING_CACHE_SIZE", "embeddings kept for repeated inputs; 0 keeps none", "256", int,
            "cache.embeddings", frozenset({Task.EMBEDDING})),
    Setting("ENABLE_WARMUP", "run warm-up passes before reporting ready", "1", parse_bool,
            "warmup.enabled"),
    Setting("WARMUP_BATCH_SIZE", "items in a warm-up pass", "1", int, "warmup.batch_size"),
    Setting("WARMUP_STEPS", "warm-up passes", "1", int, "warmup.steps"),
    Setting("ALLOW_REMOTE_IMAGES", "fetch images from http(s) addresses", "0", parse_bool,
            "images.allow_remote", CHAT),
    Setting("REMOTE_IMAGE_TIMEOUT", "seconds a fetch of a remote image may take", "5", float,
            "images.timeout", CHAT),
    Setting("MAX_REMOTE_IMAGE_BYTES", "largest image in bytes", "5242880", int, "images.max_bytes",
            CHAT),
    Setting("REMOTE_IMAGE_HOST_ALLOWLIST", "the only hosts images are fetched from, also"
            " private ones: names, addresses or CIDR blocks, comma-separated; `*` adds all public"
            " addresses", "every public host", parse_list, "images.allowed_hosts", CHAT),
    Setting("WATCH_NAMESPACES", "namespaces to serve, comma-separated; a router's default is its"
            " own, `*` means all", "all of the cluster", where="operator, router"),
    Setting("ID_PREFIXES", "prefixes of the ids of all models of a namespace, such as"
            " `team-a=team-a/,team-b=b-`; clients send the ids with them", "", read_prefixes,
            where="operator, router"),
    Setting("POD_NAMESPACE", "namespace of the operator itself", "that of its service account",
            where="operator"),
    Setting("POD_NAME", "name of the operator's pod, by which its replicas elect a leader",
            "the host name", where="operator"),
    Setting("POD_IP", "address of the operator's pod; if it is an IPv6 address, model servers"
            " listen on `::`", "none", where="operator"),
    Setting("SERVER_USER_IDS", "give pods of own images user and group ids; 0 where the platform"
            " assigns them", "1", parse_bool, where="operator"),
    Setting("SERVER_ARCHITECTURES", "architectures of own images, such as `amd64,arm64`: their pods"
            " run on such nodes only", "all", where="operator"),
    Setting("CA_BUNDLE_CONFIGMAP", "ConfigMap in the model's namespace with the certificate"
            " authorities that its servers trust", "none", where="operator"),
    Setting("CA_BUNDLE_KEY", "key of CA_BUNDLE_CONFIGMAP", "ca.crt", where="operator"),
    Setting("SERVER_IMAGE_CPU", "image of model servers on CPUs", "modelfleet-server:cpu",
            where="operator"),
    Setting("SERVER_IMAGE_CUDA", "image of model servers with torch and CUDA", "none",
            where="operator"),
    Setting("SERVER_IMAGE_ROCM", "image of model servers with torch and ROCm, for AMD GPUs", "none",
            where="operator"),
    Setting("SERVER_IMAGE_INTEL", "image of model servers with the drivers of Intel GPUs and NPUs",
            "none", where="operator"),
    Setting("SERVER_IMAGE_VLLM", "image of model servers with vLLM, for `engine: vllm`, and for"
            " chat with `engine: auto` on NVIDIA GPUs", "none", where="operator"),
    Setting("VLLM_IMAGE", "image of vLLM's own server, for `engine: vllm` where neither the spec"
            " nor SERVER_IMAGE_VLLM names one", "none", where="operator"),
    Setting("VLLM_IMAGE_ROCM", "VLLM_IMAGE for AMD GPUs", "VLLM_IMAGE", where="operator"),
    Setting("VLLM_IMAGE_INTEL", "VLLM_IMAGE for Intel GPUs", "VLLM_IMAGE", where="operator"),
    Setting("IMAGE_PULL_POLICY", "pull policy of model servers", "IfNotPresent", where="operator"),
    Setting("IMAGE_PULL_SECRETS", "pull secrets of model servers, comma-separated", "",
            where="operator"),
    Setting("IMAGE_VOLUMES", "mount `oci://` sources as image volumes instead of downloading them:"
            " `1`, `0` or `auto`, which is `1` from Kubernetes 1.35", "auto",
            parse_switch, where="operator"),
    Setting("INHERITED_LABELS", "labels of an InferenceModel that its Deployment and pods get:"
            " names or patterns such as `example.com/*`, comma-separated",
            "kueue.x-k8s.io/*,yunikorn.apache.org/*,scheduling.x-k8s.io/*", parse_list,
            where="operator"),
    Setting("INHERITED_ANNOTATIONS", "annotations of an InferenceModel that they get, likewise",
            "kueue.x-k8s.io/*,yunikorn.apache.org/*,scheduling.x-k8s.io/*", parse_list,
            where="operator"),
    Setting("PROFILES_CONFIGMAP", "ConfigMap of the profiles, in the operator's namespace",
            "modelfleet-profiles", where="operator"),
    Setting("MODELS_CONFIGMAP", "ConfigMap of the release's InferenceModels, in the operator's"
            " namespace", "modelfleet-models", where="operator"),
    Setting("CATALOG", "file whose entries are added to the built-in catalog", "",
            where="up, pull, operator"),
    Setting("HF_TOKEN_SECRET", "Secret in the model's namespace whose key HF_TOKEN is passed to"
            " Modelfleet's own servers", "", where="operator"),
    Setting("MEMORY_LIMIT_FACTOR", "memory limit of servers without one, as a multiple of their"
            " estimated memory; 0 sets none", "2", float, where="operator"),
    Setting("ROUTER_SELECTOR", "labels of the router's pods, `key=value` comma-separated",
            "app.kubernetes.io/name=modelfleet,app.kubernetes.io/component=router",
            where="operator"),
    Setting("ROUTER_PORT", "port of the router's pods", "8000", int, where="operator"),
    Setting("ROUTER_NAMESPACE", "namespace of the router's pods; the operator's own by default", "",
            where="operator"),
    Setting("AUTOSCALE_INTERVAL", "seconds between two requests for the routers' load", "2", float,
            where="operator"),
    Setting("SCALE_DOWN_DELAY", "seconds of low load before servers are removed", "60", float,
            where="operator"),
    Setting("MIN_RESIDENCY", "seconds that the servers of a model run before they may stop for "
            "another model (yieldsAfter); at least as long as their start took", "60", float,
            where="operator"),
    Setting("POD_DRAIN_SECONDS", "seconds running requests have to finish when a server is "
            "stopped; at least limits.requestTimeout of the model", "120", int, where="operator"),
    Setting("MAX_ROLLOUTS", "rollouts of models with accelerators at the same time, as a number "
            "or a percentage of these models (25%); 0 for no limit", "1", where="operator"),
    Setting("MAX_ROLLOUTS_CPU", "MAX_ROLLOUTS for models without accelerators", "0",
            where="operator"),
    Setting("SERVER_SERVICE_ACCOUNT", "ServiceAccount of model servers in their namespace, without"
            " a token", "the namespace's default", where="operator"),
    Setting("POD_TEMPLATES", "fields that `podTemplate` of an InferenceModel may set: `restricted`"
            " (those without power beyond the pod) or `full`", pod_templates.RESTRICTED,
            pod_templates.parse_mode, where="operator"),
    Setting("START_SECONDS", "seconds within which a new version must become ready", "3600", int,
            where="operator"),
    Setting("PROBE_INTERVAL", "seconds between two probes of servers that are not ready", "1",
            float, where="operator"),
    Setting("RESYNC_INTERVAL", "seconds between two comparisons of the cache with the API server;"
            " longer where one takes more than a tenth of the time", "30", float, where="operator"),
    Setting("FULL_RESYNC_INTERVAL", "seconds between two comparisons of all objects, foreign ones"
            " included, after which every model is reconciled; varies by a tenth", "600", float,
            where="operator"),
    Setting("API_REQUESTS_PER_SECOND", "maximum requests per second to the API server, except"
            " watches and Leases; bursts of twice as many", "100", float, where="operator"),
    Setting("SHARD", "the namespaces that this operator serves of those of its release, by the"
            " label `modelfleet.dev/shard` or the hash of their names: `INDEX/TOTAL`, from `0/2`",
            "all", str, where="operator"),
    Setting("WORKERS", "models reconciled concurrently", "48", int, where="operator"),
    Setting("OPERATOR_PORT", "port of the operator's /healthz, /readyz and /metrics", "8080", int,
            where="operator"),
    Setting("MODEL_METRICS", "/metrics of the operator has the conditions of each model, about 25"
            " series for each", "1", parse_bool, where="operator"),
)  # fmt: skip
BY_NAME: Mapping[str, Setting] = {setting.name: setting for setting in SETTINGS}


RETIRED: Mapping[str, str] = {
    "CHAT_BATCH_WINDOW_MS": "chat requests join the running batch at its next step, so no"
    " window is needed",
}
"""Variables of Simple Inference Server without an effect, and why."""


def retired(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables of `environ` without an effect, and why."""
    return {name: why for name, why in RETIRED.items() if environ.get(name, "").strip()}


def override(spec: ModelSpec, environ: Mapping[str, str]) -> ModelSpec:
    """`spec` with the settings of `environ` applied. Raises ValueError that names the variable.

    MAX_NEW_TOKENS is a fallback: a model's own default takes precedence.
    """
    data = spec.model_dump()
    for setting in SETTINGS:
        raw = environ.get(setting.name, "").strip()
        if not raw or setting.field is None:
            continue
        if setting.tasks and spec.task not in setting.tasks:
            continue
        if setting.name == "MAX_NEW_TOKENS" and spec.defaults.max_tokens is not None:
            continue
        try:
            _assign(data, setting.field, setting.parse(raw))
            # After each setting, so that an error names the variable at fault.
            spec = ModelSpec.model_validate(data)
        except ValidationError as error:
            raise ValueError(f"{setting.name}={raw!r}: {error.errors()[0]['msg']}") from error
        except ValueError as error:
            raise ValueError(f"{setting.name}={raw!r}: {error}") from error
    return spec


def _assign(data: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for parent in parents:
        data = data[parent]
    data[last] = value
