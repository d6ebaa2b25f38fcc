"""Weights in buckets of S3 and stores that are compatible with it: `s3://bucket/prefix`.

obstore lists the objects and signs their URLs, which are downloaded like other files. It reads
credentials from the variables of the AWS SDKs (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
AWS_SESSION_TOKEN), a web identity or an instance role, and address and region from the spec, else
from AWS_ENDPOINT_URL and AWS_REGION.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from fleet_contract import spec_parts
from fleet_contract.installation import install_command
from fleet_weights.address import S3Objects, Web
from fleet_weights.allowed import check_name, check_path
from fleet_weights.errors import WeightsError
from fleet_weights.hub.selection import WeightsFormat, choose
from fleet_weights.plan import File, FilePart

VALID = timedelta(hours=12)
"""How long signed URLs are valid."""
VARIABLES = (
    "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_VIRTUAL_HOSTED_STYLE_REQUEST",
    "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
)  # fmt: skip


def files(
    source: S3Objects,
    environ: Mapping[str, str],
    sha256: str | None,
    kind: WeightsFormat | None = None,
    where_kept: spec_parts.S3Access | None = None,
) -> list[File]:
    """The files to download for `source`, with signed URLs. Raises WeightsError.

    `sha256` is that of the spec, for an address of one object; `kind` is the format to take;
    `where_kept` is `s3` of the spec.
    """
    try:
        import obstore
        from obstore.exceptions import BaseError
    except ModuleNotFoundError as error:
        raise WeightsError(
            "s3:// addresses need obstore, which is not installed.",
            f"Install it with `{install_command('server')}`.",
        ) from error
    where = f"s3://{source.bucket}/{source.path}"
    try:
        store = _store(source, _settings(environ, where_kept))
        sizes = _sizes(store, source)
        wanted = _wanted(source, sizes, where, sha256, kind)
        urls = obstore.sign(store, "GET", list(wanted.values()), VALID)
    except (BaseError, OSError) as error:  # a missing object is a FileNotFoundError
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise WeightsError(
            f"{where} cannot be listed: {reason}",
            "Check the address, the endpoint and region in `s3`, and the credentials.",
        ) from error
    return [
        File(path, (FilePart(Web(url), sha256, sizes[key]),), sha256)
        for (path, key), url in zip(wanted.items(), urls, strict=True)
    ]


def _settings(environ: Mapping[str, str], where_kept: spec_parts.S3Access | None) -> dict[str, str]:
    """The variables of `environ` that obstore reads; those of the spec take precedence."""
    found = {name: environ[name] for name in VARIABLES if environ.get(name)}
    if where_kept is None:
        return found
    if where_kept.endpoint:
        found["AWS_ENDPOINT_URL"] = where_kept.endpoint
    if where_kept.region:
        found["AWS_REGION"] = where_kept.region
    if where_kept.virtual_hosted is not None:
        found["AWS_VIRTUAL_HOSTED_STYLE_REQUEST"] = str(where_kept.virtual_hosted).lower()
    return found


def _store(source: S3Objects, settings: Mapping[str, str]) -> Any:
    from obstore.store import S3Store

    given: Any = {name.lower(): value for name, value in settings.items()}
    plain = settings.get("AWS_ENDPOINT_URL", "").startswith("http://")
    return S3Store(source.bucket, config=given, client_options={"allow_http": plain})


def _sizes(store: Any, source: S3Objects) -> dict[str, int]:
    """Size of each object below the prefix, by its key."""
    import obstore

    found = (item for batch in obstore.list(store, prefix=source.path or None) for item in batch)
    sizes = {str(item["path"]): int(item["size"]) for item in found}
    if not sizes and source.path:  # a prefix of a list ends at a slash; this may be one object
        item = obstore.head(store, source.path)
        sizes = {source.path: int(item["size"])}
    return sizes


def _wanted(
    source: S3Objects,
    sizes: Mapping[str, int],
    where: str,
    sha256: str | None,
    kind: WeightsFormat | None,
) -> dict[str, str]:
    """Path in the model's folder to key, of the objects to download."""
    if list(sizes) == [source.path]:
        check_name(source.path)
        return {source.path.rpartition("/")[2]: source.path}
    if sha256 is not None:
        raise WeightsError(f"{where} is a folder, and `sha256` is that of a file.")
    prefix = f"{source.path}/" if source.path else ""
    paths = [check_path(key.removeprefix(prefix), where) for key in sizes]
    return {path: prefix + path for path in choose(paths, where, kind)}
