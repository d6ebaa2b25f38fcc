"""The key file: API keys by their SHA-256, with models and limits.

    keys:
      - name: team-a
        sha256: <hex of the key's SHA-256: printf %s "$KEY" | sha256sum>
        models: ["acme/*"]                  # all models if omitted
        limits: {requestsPerMinute: 60, tokensPerMinute: 100000, audioSecondsPerMinute: 600,
                 imagesPerMinute: 30, concurrentRequests: 8}
        metrics: true                       # may read /metrics; no key may if omitted
        manage: true                        # may start and stop models; no key may if omitted

Keys are long random strings, so a hash without salt or stretching protects them.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from types import MappingProxyType

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from fleet_contract import yaml_text


class _Part(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, alias_generator=to_camel, populate_by_name=True
    )


class KeyLimits(_Part):
    """Limits of a key at one router; None is unlimited."""

    requests_per_minute: int | None = Field(default=None, ge=1)
    tokens_per_minute: int | None = Field(default=None, ge=1)
    audio_seconds_per_minute: int | None = Field(default=None, ge=1)
    images_per_minute: int | None = Field(default=None, ge=1)
    concurrent_requests: int | None = Field(default=None, ge=1)


class Key(_Part):
    """One caller. `models` are ids or patterns such as `acme/*`."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", repr=False)
    models: list[str] | None = None
    limits: KeyLimits = KeyLimits()
    metrics: bool = False
    """Whether the key may read /metrics, which names all models and keys."""
    manage: bool = False
    """Whether the key may start, stop and scale its models in the console."""

    def may_use(self, model: str) -> bool:
        """Whether the key is valid for a configured model id."""
        return self.models is None or any(fnmatchcase(model, each) for each in self.models)


class _File(_Part):
    keys: list[Key]


@dataclass(frozen=True, slots=True)
class Keys:
    """Every key by its hash."""

    by_hash: Mapping[str, Key]

    def find(self, presented: bytes) -> Key | None:
        """The key a caller presented, None if it is unknown.

        Only hashes are compared, so the duration reveals nothing about any key.
        """
        digest = hashlib.sha256(presented).hexdigest()
        key = self.by_hash.get(digest)
        return key if key is not None and hmac.compare_digest(key.sha256, digest) else None


def parse(text: str | bytes) -> Keys:
    """The keys in a file. Raises ValueError with the reason, which never contains a hash."""
    try:
        document = yaml_text.load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        # `from None`: the message of the cause quotes the file, which has hashes.
        raise ValueError(f"not valid YAML{f' (line {mark.line + 1})' if mark else ''}") from None
    except RecursionError:
        raise ValueError("not valid YAML: nested too deeply") from None
    try:
        file = _File.model_validate(document)
    except ValidationError as error:
        # Without the input, which may be a hash.
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{where or 'file'}: {first['msg']}") from None
    by_hash: dict[str, Key] = {}
    names: set[str] = set()
    for key in file.keys:
        if key.name in names:
            raise ValueError(f"keys: the name {key.name!r} appears twice")
        if key.sha256 in by_hash:
            raise ValueError(
                f"keys: {key.name!r} and {by_hash[key.sha256].name!r} have the same key"
            )
        names.add(key.name)
        by_hash[key.sha256] = key
    return Keys(MappingProxyType(by_hash))
