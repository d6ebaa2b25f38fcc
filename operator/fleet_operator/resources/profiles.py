"""Profiles: spec fields shared by many models, such as those of the nodes `nvidia-l4`.

They are the entries of one ConfigMap, `name: YAML`. The profile `default` applies to models that
name none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from fleet_contract import yaml_text
from fleet_contract.pod.container import EnvFrom, EnvValue, PodPart
from fleet_contract.pod.resources import DeviceRequest, Quantity, Resources
from fleet_contract.spec_base import SpecPart
from fleet_contract.spec_parts import Price, S3Access

DEFAULT = "default"


class ModelCache(SpecPart):
    """Storage of fetched weights: an existing claim, one created for each model, or a folder of
    each node."""

    claim: str | None = None
    """Claim shared by all models of the profile; its volume must be mountable on their nodes."""
    node: bool = False
    """Whether weights are stored in a folder of the node, which all models of a namespace share and
    which survives their pods. It is a hostPath volume, so the namespace must allow these."""
    prefetch: bool = False
    """With `node`: whether the weights of all models of the profile are downloaded to all of its
    nodes ahead of time. No other weights are deleted for them."""
    path: str = Field(default="/var/lib/modelfleet", pattern=r"^/[A-Za-z0-9._/-]*[A-Za-z0-9_-]$")
    """That folder; each namespace has a folder in it."""
    size: Quantity | None = None
    """Size of the claim created for each model and deleted only with the InferenceModel. With
    `node`, maximum bytes that the models of a namespace may take on a node; the least recently used
    are deleted first. By default they may fill 80% of the node's disk."""
    storage_class_name: str | None = None
    """Storage class of that claim; the cluster's default by default."""
    access_mode: Literal["ReadWriteOnce", "ReadWriteMany"] = "ReadWriteOnce"
    """Access mode of that claim."""

    @property
    def makes_claim(self) -> bool:
        """Whether a claim is created for each model."""
        return not self.node and self.claim is None and self.size is not None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.node and self.claim is not None:
            raise ValueError("modelCache has either node or claim")
        if self.prefetch and not self.node:
            raise ValueError("modelCache.prefetch needs modelCache.node")
        if ".." in self.path.split("/"):
            raise ValueError("modelCache.path must not contain ..")
        return self


class Profile(SpecPart):
    """Fields of the spec that a profile may set, under the same names, and its own."""

    device: str | None = None
    image: str | None = None
    resources: Resources = Field(default_factory=Resources)
    devices: list[DeviceRequest] = Field(default_factory=list)
    node_selector: dict[str, str] = Field(default_factory=dict)
    tolerations: list[PodPart] = Field(default_factory=list)
    affinity: PodPart | None = None
    priority_class_name: str | None = None
    runtime_class_name: str | None = None
    scheduler_name: str | None = None
    s3: S3Access | None = None
    price: Price | None = None
    env: dict[str, EnvValue] = Field(default_factory=dict)
    env_from: list[EnvFrom] = Field(default_factory=list)
    pod_template: PodPart | None = None
    model_cache: ModelCache | None = None
    hf_token_secret: str | None = None
    registry_secret: str | None = None
    """Pull secret with which servers download images of weights that cannot be mounted."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """Names of the Secrets that servers get to download weights."""
        store = self.s3.secret_ref if self.s3 is not None else None
        names = (self.hf_token_secret, self.registry_secret, store.name if store else None)
        return tuple(name for name in names if name)

    def layer(self) -> dict[str, Any]:
        """The profile's spec fields in wire form."""
        return {
            name: value
            for name, value in self.to_wire().items()
            if name not in ("modelCache", "hfTokenSecret", "registrySecret")
        }


class ProfileError(ValueError):
    """A profile that cannot be parsed; the message names the field."""


def parse(data: Mapping[str, str]) -> tuple[dict[str, Profile], dict[str, str]]:
    """Profiles by name, and error messages by name for those that cannot be parsed."""
    profiles: dict[str, Profile] = {}
    problems: dict[str, str] = {}
    for name, text in data.items():
        try:
            profiles[name] = _profile(text)
        except ProfileError as error:
            problems[name] = f"profile {name!r}: {error}"
    return profiles, problems


def _profile(text: str) -> Profile:
    try:
        raw = yaml_text.load(text)
        return Profile.model_validate({} if raw is None else raw)
    except (yaml.YAMLError, RecursionError) as error:
        raise ProfileError(f"not valid YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(str(part) for part in problem["loc"])
        raise ProfileError(f"{field}: {problem['msg']}" if field else problem["msg"]) from error
