"""Reads `data:image/...;base64,...` (RFC 2397) strictly; called by the loader."""

from __future__ import annotations

import base64
import binascii

from fleet_contract.errors import BadRequest, TooLarge


def read(url: str, max_bytes: int) -> bytes:
    """The bytes in a data URL.

    Raises BadRequest for anything but base64 of an image type, TooLarge beyond `max_bytes`.
    """
    head, comma, body = url.partition(",")
    media_type, *parameters = head[len("data:") :].split(";")
    if not comma or "base64" not in parameters[-1:]:
        raise BadRequest(
            "An image's data URL must be base64: data:image/png;base64,...", code="invalid_image"
        )
    if not media_type.lower().startswith("image/"):
        raise BadRequest(
            "An image's data URL must name an image type, such as image/png.", code="invalid_image"
        )
    size = len(body) * 3 // 4 - body[-2:].count("=")
    if size > max_bytes:
        raise TooLarge(f"The image has {size} bytes; at most {max_bytes} are accepted.")
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadRequest(
            f"The image's data URL is not valid base64: {error}.", code="invalid_image"
        ) from None
