"""Validation rules in CEL for what a schema cannot express; they mirror those of ModelSpec.

They check the resource as written; fields that come from the catalog are checked by the operator
once the spec is complete.
"""

from __future__ import annotations

from typing import NamedTuple

NAME_LENGTH = 52
"""Maximum length of a resource's name: pod names add up to 11 characters and are limited to 63."""


class Rule(NamedTuple):
    """`path` is the field it is attached to, in camelCase from the resource's root."""

    path: str
    rule: str
    message: str


RULES: tuple[Rule, ...] = (
    Rule("", "self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$') && "
             f"size(self.metadata.name) <= {NAME_LENGTH}",
         "metadata.name must be lower-case letters, digits and '-', begin with a letter and have "
         f"at most {NAME_LENGTH} characters, because the Service has the same name"),
    Rule("spec.model", "self == oldSelf",
         "model is immutable: create another InferenceModel instead"),
    Rule("spec", "!has(self.aliases) || !self.aliases.exists(a, a == self.model)",
         "aliases must differ from model"),
    Rule("spec", "!has(self.minReplicas) || !has(self.maxReplicas) || "
                 "self.minReplicas <= self.maxReplicas",
         "minReplicas must not exceed maxReplicas"),
    Rule("spec", "!has(self.engine) || self.engine != 'remote' || has(self.remote)",
         "engine remote needs remote.address"),
    Rule("spec", "!has(self.engine) || self.engine != 'custom' || has(self.handler)",
         "engine custom needs a handler"),
    Rule("spec", "!has(self.engine) || self.engine != 'container' || has(self.image) || "
                 "(has(self.container) && has(self.container.image))",
         "engine container needs container.image"),
    Rule("spec", "!has(self.vision) || !self.vision || !has(self.task) || self.task == 'chat'",
         "vision: only a chat model reads images"),
    Rule("spec", "!has(self.adapters) || size(self.adapters) == 0 || !has(self.task) || "
                 "self.task == 'chat'",
         "adapters: only a chat model has adapters"),
    Rule("spec", "!has(self.adapters) || size(self.adapters) == 0 || !has(self.engine) || "
                 "self.engine in ['auto', 'custom', 'llamacpp', 'vllm']",
         "adapters: engines that load them are llamacpp and vllm"),
    Rule("spec", "!has(self.speculative) || !has(self.task) || self.task == 'chat' || "
                 "!(has(self.speculative.draft) || (has(self.speculative.promptLookup) && "
                 "self.speculative.promptLookup))",
         "speculative: only a chat model generates text"),
    Rule("spec.adapters[]", "!self.source.startsWith('https://') || has(self.sha256)",
         "a source of https:// needs sha256"),
    Rule("spec.speculative.draft", "!self.source.startsWith('https://') || has(self.sha256)",
         "a source of https:// needs sha256"),
    Rule("spec", "!has(self.inferencePool) || !has(self.engine) || self.engine != 'remote'",
         "inferencePool: a model with engine remote has no pods"),
    Rule("spec", "!has(self.inferencePool) || "
                 "!(has(self.scaleToZeroAfter) || has(self.targetInFlight) || "
                 "has(self.yieldsAfter))",
         "inferencePool: scaleToZeroAfter, targetInFlight and yieldsAfter count the requests of "
         "routers, not those of gateways"),
    Rule("spec", "!has(self.fallback) || self.fallback != self.model",
         "fallback must name another model"),
    Rule("spec.source", "self.matches('^(hf|pvc|file|https|pypi|oci|s3)://.')",
         "source must begin with hf://, pvc://, oci://, s3://, file://, https:// or pypi://"),
    Rule("spec", "!has(self.source) || !self.source.startsWith('https://') || has(self.sha256)",
         "a source of https:// needs sha256"),
    Rule("spec.envFrom[]", "has(self.secretRef) != has(self.configMapRef)",
         "envFrom needs either secretRef or configMapRef"),
    Rule("spec.golden[]", "has(self.prompt) != (has(self.similar) && size(self.similar) > 0)",
         "a golden check has either prompt or similar"),
    Rule("spec.golden[]",
         "has(self.prompt) == (has(self.contains) || has(self.toolCall) || has(self.matches))",
         "a golden check with a prompt needs contains, toolCall or matches"),
    Rule("spec.golden[]", "!has(self.toolCall) || !(has(self.contains) || has(self.matches))",
         "a golden check with toolCall has neither contains nor matches"),
    Rule("spec.golden[]", "!has(self.similar) || size(self.similar) in [0, 2]",
         "similar needs two texts"),
)  # fmt: skip

LIST_TYPES: dict[str, dict[str, object]] = {
    "spec.adapters": {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    "spec.aliases": {"x-kubernetes-list-type": "set"},
    "spec.files": {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["path"]},
    "spec.weights": {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["path"]},
    "status.conditions": {
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
    },
}
"""Lists with unique items, or with a unique key."""
