"""The chart's release with three models, installed as in docs/operations.md."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Set
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import openai
import yaml

from harness.api import Json
from harness.helm import CHART, Helm, set_arguments
from harness.kubectl import Kubectl
from harness.models import API, KIND, model
from harness.paths import REPOSITORY
from harness.tenant import Tenant
from traffic import Driver

CHAT = "HuggingFaceTB/SmolLM2-135M-Instruct"
EMBEDDING = "sentence-transformers/all-MiniLM-L6-v2"
SPEECH = "openai/whisper-base"
MODELS = {"smollm2": 2, "minilm": 2, "whisper-base": 1}
"""InferenceModels and their numbers of replicas."""
PAIRS = ("smollm2", "minilm")
"""The models with two servers."""
EXAMPLES = {"chat": "smollm2", "embedding": "minilm", "speech": "whisper-base"}
"""Files in configs/examples and the names of their InferenceModels."""
SMALL = {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "3Gi"}}
"""Small requests for nodes with two cores; the catalog requests one core for each model."""
RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
EXAMPLE_FILES = REPOSITORY / "configs" / "examples"
NAME = "fleet"
ROUTER = "fleet-modelfleet-router"
OPERATOR = "fleet-modelfleet-operator"
ROUTERS = "app.kubernetes.io/component=router"
OPERATORS = "app.kubernetes.io/component=operator"
REGISTRY = "localhost/fleet"
TAGS = ("1.0.0", "1.0.1")
"""Tags of the same images: the installed one, and the one after the upgrade."""
READY_SECONDS = 300.0
_WAIT = ("--wait", "--timeout=600s")

Change = Callable[[str], AbstractContextManager[None]]
Traffic = Callable[..., AbstractContextManager[tuple[Driver, Change]]]
"""The fixture `traffic` of tests/e2e."""


class Fleet:
    """The release `fleet` in a namespace, managed with helm and kubectl as users do."""

    def __init__(self, helm: Helm, tenant: Tenant) -> None:
        self._helm = helm
        self.tenant = tenant

    @property
    def kubectl(self) -> Kubectl:
        return self.tenant.kubectl

    def helm(self, verb: str, *arguments: str) -> str:
        """Run a helm command on the release and return its output. Raises HelmError."""
        return self._helm(verb, NAME, *arguments, "-n", self.tenant.namespace, timeout=900)

    def install(self, values: Mapping[str, Any]) -> str:
        """Run `helm install --wait` and return the notes."""
        return self.helm("install", str(CHART), *_WAIT, *set_arguments(dict(values)))

    def upgrade(self, values: Mapping[str, Any]) -> None:
        """Run `helm upgrade --wait`; values that are not given stay as they are."""
        chosen = ["--reset-then-reuse-values", *set_arguments(dict(values))]
        self.helm("upgrade", str(CHART), *_WAIT, *chosen)

    def rollback(self) -> None:
        """Run `helm rollback --wait` to the first revision."""
        self.helm("rollback", "1", *_WAIT)

    def apply(self, example: str, replicas: int) -> None:
        """`kubectl apply` an example with `replicas` servers and small resource requests."""
        manifest = yaml.safe_load((EXAMPLE_FILES / f"{example}.yaml").read_text())
        manifest["spec"] |= {"replicas": replicas, "resources": SMALL}
        self.kubectl.apply(manifest)

    def wait_until_ready(self, name: str) -> Json:
        """`kubectl wait` until an InferenceModel is ready, and return it."""
        waiting = ["wait", "--for=condition=Ready", f"inferencemodel/{name}", "--timeout=300s"]
        self.kubectl(*waiting, timeout=320)
        return self.tenant.get(API, KIND, name)

    def patch(self, name: str, **spec: object) -> None:
        """`kubectl patch` the spec of an InferenceModel."""
        body = json.dumps({"spec": spec})
        self.kubectl("patch", "inferencemodel", name, "--type=merge", "-p", body)

    @property
    def url(self) -> str:
        """URL of the routers' Service."""
        address = self.tenant.get("v1", "Service", ROUTER)["spec"]["clusterIP"]
        return f"http://{address}"

    def client(self) -> openai.OpenAI:
        """The official client for the routers' Service, without retries."""
        return openai.OpenAI(
            base_url=f"{self.url}/v1", api_key="none", timeout=READY_SECONDS, max_retries=0
        )

    def pods(self, label: str) -> list[Json]:
        """Pods that are not being deleted."""
        found = self.tenant.items("v1", "Pod", labelSelector=label)
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def wait_for_pods(
        self, label: str, count: int, without: Set[str] = frozenset(), image: str = ""
    ) -> None:
        """Wait until there are exactly `count` pods and all are ready.

        None of them is in `without`, and the reference of their image ends with `image`.
        """

        def holds(pods: list[Json]) -> bool:
            return (
                len(pods) == count
                and not names(pods) & without
                and all(is_ready(pod) and _image(pod).endswith(image) for pod in pods)
            )

        self.tenant.wait_list("v1", "Pod", holds, READY_SECONDS, labelSelector=label)

    def wait_for_all_pods(self, image: str = "") -> None:
        """Wait until all models have all their replicas with the image."""
        for name, count in MODELS.items():
            self.wait_for_pods(of_model(name), count, image=image)


@dataclass(frozen=True)
class FreshInstall:
    """A newly installed release with a first model, the notes of helm and the seconds by stage."""

    fleet: Fleet
    notes: str
    seconds: dict[str, float]


def like_minilm(fleet: Fleet, name: str, **spec: object) -> Json:
    """An InferenceModel with the id `test/NAME` and the weights of `minilm`."""
    found = fleet.tenant.get(API, KIND, "minilm")["status"]["resolved"]
    same = {key: found[key] for key in ("task", "weights", "dimensions", "contextLength")}
    made = model(name, resources=SMALL, **same)
    del made["spec"]["source"]
    made["spec"] |= spec
    return made


def of_model(name: str) -> str:
    """Label selector of a model's servers."""
    return f"modelfleet.dev/inferencemodel={name}"


def names(pods: list[Json]) -> set[str]:
    return {pod["metadata"]["name"] for pod in pods}


def is_ready(pod: Json) -> bool:
    conditions = pod["status"].get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _image(pod: Json) -> str:
    return str(pod["spec"]["containers"][0]["image"])


def first_token(client: openai.OpenAI) -> float:
    """Seconds from sending a chat request to the first text of the response."""
    began = time.monotonic()
    with client.chat.completions.create(
        model=CHAT, messages=[{"role": "user", "content": "What is the capital of France?"}],
        max_tokens=24, temperature=0, stream=True,
    ) as stream:  # fmt: skip
        for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.content:
                return time.monotonic() - began
    raise AssertionError("the stream had no text")
