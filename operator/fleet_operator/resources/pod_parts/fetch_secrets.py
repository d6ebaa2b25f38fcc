"""Variables from the platform's Secrets with which a server downloads its weights.

Only Modelfleet's own servers get them, which erase them before they load a model, and only where
the author of the resource does not control what runs in their container. Keys of a bucket that the
resource names are the author's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from fleet_contract.completion import MANIFEST
from fleet_contract.names import BUCKET_KEYS, REGISTRY_LOGINS
from fleet_contract.spec import Engine, ModelSpec
from fleet_operator.resources.pod_parts.author_control import author_control
from fleet_operator.resources.resolve import Resolution
from fleet_operator.settings import OperatorSettings

Object = dict[str, Any]

HUB_TOKEN = "HF_TOKEN"  # noqa: S105  (the name of a variable)
HUB_SCHEME = "hf://"
DOCKER_CONFIG = ".dockerconfigjson"
"""Key of pull secrets."""
NEEDED_KEYS = BUCKET_KEYS[:2]
KINDS = {
    HUB_TOKEN: "hub token",
    REGISTRY_LOGINS: "login of the registry",
    **dict.fromkeys(BUCKET_KEYS, "keys of the bucket"),
}


class FetchSecrets(NamedTuple):
    """`variables` are those of the server's container. `withheld` names the variables it does not
    get because of `field`, a field of the resource with which its author could read them."""

    variables: tuple[Object, ...] = ()
    withheld: tuple[str, ...] = ()
    field: str = ""

    @property
    def message(self) -> str:
        """What is withheld, why, and what to do; "" if nothing is."""
        if not self.withheld:
            return ""
        secrets = " and ".join(dict.fromkeys(KINDS[name] for name in self.withheld))
        return (
            f"The platform's {secrets} ({', '.join(self.withheld)}) is not passed to the servers,"
            f" because the resource sets {self.field}, with which its author could read it. Set"
            " that in a profile, or pass a Secret of your own in `env`."
        )


def fetch_secrets(
    found: Resolution, settings: OperatorSettings, downloads_image: bool
) -> FetchSecrets:
    """The secrets for a server of a resolved spec.

    `downloads_image`: it downloads the image of an `oci://` source.
    """
    spec = found.spec
    if spec is None or spec.is_foreign or spec.engine is Engine.REMOTE:
        return FetchSecrets()
    platform = list(_of_platform(spec, found, settings, downloads_image))
    own = list(_bucket_keys(spec)) if _has_own_bucket(found) else []
    field = author_control(spec, found.origins) if platform else None
    if field is None:
        return FetchSecrets((*platform, *own))
    names = (one["name"] for one in platform if one["name"] != HUB_TOKEN or _is_on_hub(spec))
    return FetchSecrets(tuple(own), tuple(names), field)


def _of_platform(
    spec: ModelSpec, found: Resolution, settings: OperatorSettings, downloads_image: bool
) -> Iterator[Object]:
    profile = found.profile
    secret = profile.hf_token_secret or settings.hf_token_secret
    if secret and HUB_TOKEN not in spec.env:
        yield _from_secret(HUB_TOKEN, secret, HUB_TOKEN)
    if downloads_image and profile.registry_secret and REGISTRY_LOGINS not in spec.env:
        yield _from_secret(REGISTRY_LOGINS, profile.registry_secret, DOCKER_CONFIG)
    if not _has_own_bucket(found):
        yield from _bucket_keys(spec)


def _has_own_bucket(found: Resolution) -> bool:
    return found.origins.get("s3") == MANIFEST


def _bucket_keys(spec: ModelSpec) -> Iterator[Object]:
    keys = spec.bucket.secret_ref if spec.bucket is not None else None
    if keys is None or any(name in spec.env for name in BUCKET_KEYS):
        return
    for name in BUCKET_KEYS:
        yield _from_secret(name, keys.name, name, keys.optional or name not in NEEDED_KEYS)


def _is_on_hub(spec: ModelSpec) -> bool:
    """Whether weights may come from the hub."""
    others = [adapter.source for adapter in spec.adapters]
    if spec.speculative.draft is not None:
        others.append(spec.speculative.draft.source)
    if any(source.startswith(HUB_SCHEME) for source in others):
        return True
    if spec.source or not spec.weights:
        return spec.source is None or spec.source.startswith(HUB_SCHEME)
    return any(part.url.startswith(HUB_SCHEME) for file in spec.weights for part in file.parts)


def _from_secret(variable: str, secret: str, key: str, optional: bool = True) -> Object:
    reference = {"name": secret, "key": key, **({"optional": True} if optional else {})}
    return {"name": variable, "valueFrom": {"secretKeyRef": reference}}
