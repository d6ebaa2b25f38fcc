"""A server's container and pod: environment variables, small files, image and arguments."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
    model_validator,
)

from fleet_contract.spec_base import SpecPart


def _not_too_deep(value: dict[str, Any]) -> dict[str, Any]:
    """`value` if it is nested at most MAX_NESTING deep. Raises ValueError."""
    level: list[Any] = [value]
    for _ in range(MAX_NESTING):
        level = [inner for outer in level
                 for inner in (outer.values() if isinstance(outer, dict) else outer)
                 if isinstance(inner, dict | list)]  # fmt: skip
        if not level:
            return value
    raise ValueError(f"nested more than {MAX_NESTING} levels deep")


MAX_NESTING = 32
PodPart = Annotated[dict[str, Any], AfterValidator(_not_too_deep)]
"""A part of a PodSpec. Only its depth is checked: the API server accepts 10,000 levels."""


class KeyRef(SpecPart):
    """A key of a Secret or ConfigMap in the model's namespace."""

    name: str = Field(min_length=1, max_length=253)
    """Name of the Secret or ConfigMap."""
    key: str = Field(min_length=1, max_length=253)
    """Key in it."""
    optional: bool = False
    """Whether the pod starts without it."""


class ValueSource(SpecPart):
    """Where the value of an environment variable is read from: exactly one of the two fields."""

    secret_key_ref: KeyRef | None = None
    config_map_key_ref: KeyRef | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.secret_key_ref is None) == (self.config_map_key_ref is None):
            raise ValueError("must have either secretKeyRef or configMapKeyRef")
        return self


class VariableSource(SpecPart):
    """An environment variable whose value is not in the spec."""

    value_from: ValueSource


def _is_variable(value: Any) -> Any:
    if isinstance(value, str | dict | VariableSource):
        return value
    raise ValueError("must be a string, or valueFrom with secretKeyRef or configMapKeyRef")


EnvValue = Annotated[
    Annotated[str, Tag("value")] | Annotated[VariableSource, Tag("source")],
    Discriminator(lambda value: "value" if isinstance(value, str) else "source"),
    BeforeValidator(_is_variable),
    WithJsonSchema({"x-kubernetes-preserve-unknown-fields": True}),
]
"""A string, or `{valueFrom: {secretKeyRef: {name, key}}}`, as in a container spec. The schema of a
custom resource cannot express a field of strings and objects."""


class ObjectRef(SpecPart):
    """A Secret or ConfigMap in the model's namespace."""

    name: str = Field(min_length=1, max_length=253)
    """Its name."""
    optional: bool = False
    """Whether the pod starts without it."""


class EnvFrom(SpecPart):
    """A Secret or ConfigMap whose keys become environment variables."""

    prefix: str = Field(default="", max_length=100)
    """Text before each key in the name of its variable."""
    secret_ref: ObjectRef | None = None
    """A Secret."""
    config_map_ref: ObjectRef | None = None
    """A ConfigMap."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.secret_ref is None) == (self.config_map_ref is None):
            raise ValueError("must have either secretRef or configMapRef")
        return self


class MountedFile(SpecPart):
    """A small file mounted into the server's container."""

    path: str = Field(max_length=500, pattern=r"^/")
    """Absolute path of the file."""
    content: str = Field(max_length=100_000)
    """Content of the file."""


class Container(SpecPart):
    """A container with an OpenAI-compatible server."""

    image: str | None = None
    """Container image."""
    args: list[str] = Field(default_factory=list)
    """Arguments of its entry point."""
    port: int = Field(default=8000, ge=1, le=65535)
    """Port it listens on."""
    ready_path: str = Field(default="/health", pattern=r"^/", max_length=200)
    """Path that returns 200 once the model can serve requests."""
