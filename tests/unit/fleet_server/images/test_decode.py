"""Decoding of bytes to an upright RGB image, or a 400."""

from __future__ import annotations

import tracemalloc
from types import SimpleNamespace

import pytest
from PIL import Image

from fleet_contract.errors import BadRequest
from fleet_server.images.decode import to_rgb

Pictures = SimpleNamespace

PIXELS = 1000


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_formats(pictures: Pictures, kind: str) -> None:
    image = to_rgb(pictures.encode(pictures.halves(), kind), PIXELS)
    assert (image.mode, image.size) == ("RGB", (8, 4))
    red, _, blue = image.getpixel((1, 1))
    assert red > 200
    assert blue < 60


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA"])
def test_modes(pictures: Pictures, mode: str) -> None:
    image = to_rgb(pictures.encode(pictures.halves(mode)), PIXELS)
    assert (image.mode, image.size) == ("RGB", (8, 4))
    assert image.getpixel((1, 1))[0] >= image.getpixel((6, 1))[0]


def test_sixteen_bits_of_grey_are_scaled(pictures: Pictures) -> None:
    made = Image.new("I;16", (2, 2), 32768)
    assert to_rgb(pictures.encode(made), PIXELS).getpixel((0, 0)) == (128, 128, 128)


def test_cmyk_jpeg(pictures: Pictures) -> None:
    red, _, blue = to_rgb(pictures.encode(pictures.halves("CMYK"), "JPEG"), PIXELS).getpixel((1, 1))
    assert red > 200
    assert blue < 60


def test_transparency_is_laid_on_white(pictures: Pictures) -> None:
    clear = Image.new("RGBA", (2, 2), (0, 0, 0, 0))
    assert to_rgb(pictures.encode(clear), PIXELS).getpixel((0, 0)) == (255, 255, 255)
    half = Image.new("RGBA", (2, 2), (0, 0, 0, 128))
    assert abs(to_rgb(pictures.encode(half), PIXELS).getpixel((0, 0))[0] - 127) <= 1


def test_orientation(pictures: Pictures) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn 90 degrees clockwise
    image = to_rgb(pictures.encode(pictures.halves(), "JPEG", exif=exif, quality=95), PIXELS)
    assert image.size == (4, 8)
    assert image.getpixel((1, 1))[0] > 200  # red on top
    assert image.getpixel((1, 6))[2] > 200


@pytest.mark.parametrize(
    ("cut", "reason"),
    [(0, "cannot be decoded"), (1, "cannot be decoded"), (8, "cannot be decoded"),
     (20, "cannot be decoded"), (50, "PNG image is damaged or incomplete")],
)  # fmt: skip
def test_cut_off(pictures: Pictures, cut: int, reason: str) -> None:
    with pytest.raises(BadRequest, match=reason):
        to_rgb(pictures.encode(pictures.halves())[:cut], PIXELS)


@pytest.mark.parametrize("content", [b"<svg/>", b"%PDF", b"BM" + bytes(60), b"II*\0" + bytes(9)])
def test_other_files(content: bytes) -> None:
    with pytest.raises(BadRequest, match="cannot be decoded"):
        to_rgb(content, PIXELS)


def test_damage_anywhere_never_raises_anything_else(pictures: Pictures) -> None:
    for kind in ("PNG", "JPEG", "WEBP", "GIF"):
        good = pictures.encode(pictures.halves(), kind)
        for index in range(0, len(good), 3):
            bad = bytearray(good)
            bad[index] ^= 0xFF
            try:
                assert to_rgb(bytes(bad), PIXELS).mode == "RGB"
            except BadRequest:
                continue


def test_the_limit_of_pixels_is_exact(pictures: Pictures) -> None:
    assert to_rgb(pictures.encode(pictures.halves()), 32).size == (8, 4)
    with pytest.raises(BadRequest, match="8 x 4 pixels; at most 31"):
        to_rgb(pictures.encode(pictures.halves()), 31)


@pytest.mark.parametrize(("width", "height"), [(8000, 8000), (12_000, 12_000), (20_000, 20_000)])
def test_a_bomb_is_refused_undecoded(pictures: Pictures, width: int, height: int) -> None:
    content = pictures.bomb(width, height)
    assert len(content) < 100_000
    tracemalloc.start()
    try:
        with pytest.raises(BadRequest, match="pixels"):
            to_rgb(content, 32_000_000)
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_animations_are_refused(pictures: Pictures, kind: str) -> None:
    frames = [pictures.halves(), pictures.halves().transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
    content = pictures.encode(frames[0], kind, save_all=True, append_images=frames[1:], duration=9)
    with pytest.raises(BadRequest, match="animated"):
        to_rgb(content, PIXELS)
