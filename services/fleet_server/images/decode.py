"""Decodes an image file into an upright RGB picture.

The number of pixels is checked in the header before anything is decoded.
"""

from __future__ import annotations

import io
from typing import Any

from fleet_contract.errors import BadRequest

FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
WHITE = (255, 255, 255)


def size_of(content: bytes, max_pixels: int) -> tuple[int, int]:
    """Width and height in the header. Raises BadRequest as `to_rgb`."""
    with _opened(content, max_pixels) as image:
        width, height = image.size
        return width, height


def to_rgb(content: bytes, max_pixels: int, most_pixels: int | None = None) -> Any:
    """An RGB `PIL.Image.Image`: EXIF orientation applied, transparency composed on white, reduced
    to `most_pixels`.

    Raises BadRequest when it cannot be decoded, has more than `max_pixels` or is animated.
    """
    with _opened(content, max_pixels) as image:
        try:
            if getattr(image, "is_animated", False):
                raise BadRequest(
                    "The image is animated; send a single picture.", code="invalid_image"
                )
            return _reduced(_upright(image), most_pixels)
        except BadRequest:
            raise
        except Exception as error:
            raise BadRequest(
                f"The {image.format} image is damaged or incomplete.", code="invalid_image"
            ) from error


def _opened(content: bytes, max_pixels: int) -> Any:
    """The image with its header read only."""
    from PIL import Image

    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_many(None, max_pixels) from error
    except Exception as error:  # Pillow's plugins raise many types for broken files
        raise _undecodable() from error
    width, height = image.size
    if width * height > max_pixels:
        image.close()
        raise _too_many((width, height), max_pixels)
    return image


def _reduced(image: Any, most_pixels: int | None) -> Any:
    width, height = image.size
    if most_pixels is None or width * height <= most_pixels:
        return image
    scale = (most_pixels / (width * height)) ** 0.5
    return image.resize((max(1, int(width * scale)), max(1, int(height * scale))))


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
