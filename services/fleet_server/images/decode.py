"""Decodes an image file into an upright RGB picture.

The number of pixels is checked in the header before anything is decoded.
"""

from __future__ import annotations

import io
from typing import Any

from fleet_contract.errors import BadRequest

FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
WHITE = (255, 255, 255)


def to_rgb(content: bytes, max_pixels: int) -> Any:
    """An RGB `PIL.Image.Image`: EXIF orientation applied, transparency composed on white.

    Raises BadRequest when it cannot be decoded, has more pixels or is animated.
    """
    from PIL import Image

    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_many(None, max_pixels) from error
    except Exception as error:  # Pillow's plugins raise many types for broken files
        raise _undecodable() from error
    with image:
        width, height = image.size
        if width * height > max_pixels:
            raise _too_many((width, height), max_pixels)
        try:
            if getattr(image, "is_animated", False):
                raise BadRequest(
                    "The image is animated; send a single picture.", code="invalid_image"
                )
            return _upright(image)
        except BadRequest:
            raise
        except Exception as error:
            raise BadRequest(
                f"The {image.format} image is damaged or incomplete.", code="invalid_image"
            ) from error


def _upright(image: Any) -> Any:
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16-bit grey: Pillow clips it to 8 bits instead of scaling
        image = image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    if image.has_transparency_data:
        picture = image.convert("RGBA")
        ground = Image.new("RGBA", picture.size, (*WHITE, 255))
        return Image.alpha_composite(ground, picture).convert("RGB")
    return image.convert("RGB")


def _undecodable() -> BadRequest:
    return BadRequest(
        f"The image cannot be decoded; supported formats: {', '.join(FORMATS)}.",
        code="invalid_image",
    )


def _too_many(size: tuple[int, int] | None, max_pixels: int) -> BadRequest:
    shown = f"{size[0]} x {size[1]} pixels" if size else "too many pixels"
    return BadRequest(
        f"The image has {shown}; at most {max_pixels} pixels in total are accepted.",
        code="image_too_large",
    )
