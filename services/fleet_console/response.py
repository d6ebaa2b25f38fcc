"""The response with a file of the page: its headers, compression and revalidation."""

from __future__ import annotations

import re
from collections.abc import Mapping

from starlette.responses import Response

from fleet_console.files import File

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    )
)
"""Content-Security-Policy: code and styles of the two files only, requests to this address only.
Images and sounds that the user chose are shown from memory (`data:`, `blob:`)."""

HEADERS = {
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "microphone=(self), camera=(), geolocation=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Revalidated each time: after an update the page must not run with old code.
    "cache-control": "no-cache",
    "vary": "accept-encoding",
}

_NO_GZIP = re.compile(r"gzip\s*;\s*q=0(\.0*)?\s*(,|$)")


def page_response(file: File, headers: Mapping[str, str]) -> Response:
    """`file` for a request with `headers`; 304 without a body if the client has it."""
    compressed = accepts_gzip(headers.get("accept-encoding", ""))
    tag = file.compressed_tag if compressed else file.tag
    fields = {**HEADERS, "etag": tag}
    if matches(headers.get("if-none-match", ""), tag):
        return Response(status_code=304, headers=fields)
    if compressed:
        fields["content-encoding"] = "gzip"
    content = file.compressed if compressed else file.content
    return Response(content, headers={**fields, "content-type": file.media_type})


def accepts_gzip(accepted: str) -> bool:
    """Whether an Accept-Encoding names gzip (RFC 9110, section 12.5.3)."""
    accepted = accepted.lower()
    return "gzip" in accepted and not _NO_GZIP.search(accepted)


def matches(listed: str, tag: str) -> bool:
    """Whether an If-None-Match has the tag; compared weakly (RFC 9110, section 13.1.2)."""
    if listed.strip() == "*":
        return True
    return any(each.strip().removeprefix("W/") == tag for each in listed.split(","))
