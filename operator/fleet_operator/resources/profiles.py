"""Profiles: spec fields shared by many models, such as those of the nodes `nvidia-l4`.

They are the entries of one ConfigMap, `name: YAML`. The profile `default` applies to models that
name none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError

from fleet_contract.spec_base import SpecPart
from fleet_contract.spec_parts import EnvFrom, EnvValue, PodPart, Quantity, Resources

DEFAULT = "default"


class ModelCache(SpecPart):
    """Storage of fetched weights: an existing claim, or one created for each model."""

    claim: str | None = None
    """Claim shared by all models of the profile; its volume must be mountable on their nodes."""
    size: Quantity | None = None
    """Size of the claim created for each model and deleted only with the InferenceModel."""
    storage_class_name: str | None = None
    """Storage class of that claim; the cluster's default by default."""
    access_mode: Literal["ReadWriteOnce", "ReadWriteMany"] = "ReadWriteOnce"
    """Access mode of that claim."""


class Profile(SpecPart):
    """Fields of the spec that a profile may set, under the same names, and its own."""

    device: str | None = None
    image: str | None = None
    resources: Resources = Field(default_factory=Resources)
    node_selector: dict[str, str] = Field(default_factory=dict)
    tolerations: list[PodPart] = Field(default_factory=list)
    affinity: PodPart | None = None
    priority_class_name: str | None = None
    runtime_class_name: str | None = None
    env: dict[str, EnvValue] = Field(default_factory=dict)
    env_from: list[EnvFrom] = Field(default_factory=list)
    pod_template: PodPart | None = None
    model_cache: ModelCache | None = None
    hf_token_secret: str | None = None

    def layer(self) -> dict[str, Any]:
        """The profile's spec fields in wire form."""
        return {
            name: value
            for name, value in self.to_wire().items()
            if name not in ("modelCache", "hfTokenSecret")
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
        raw = yaml.safe_load(text)
        return Profile.model_validate({} if raw is None else raw)
    except (yaml.YAMLError, RecursionError) as error:
        raise ProfileError(f"not valid YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(str(part) for part in problem["loc"])
        raise ProfileError(f"{field}: {problem['msg']}" if field else problem["msg"]) from error
