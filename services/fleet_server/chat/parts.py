"""Content parts: images, and those that a model does not take, with what takes them instead."""

from __future__ import annotations

from dataclasses import dataclass

from fleet_contract.errors import UnsupportedParameter
from fleet_contract.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class ImageUrl:
    """The URL of an image, and its place in the request."""

    url: str
    place: str


IMAGE = "Models that read images have `image` in `modalities.input` of GET /v1/models."
AUDIO = (
    "The router of a fleet with a speech model transcribes the recordings in chat completions "
    "(input_audio). Transcribe others with /v1/audio/transcriptions, or use a model of the engines "
    "container or remote that hears."
)
VIDEO = (
    "Send frames as images to a model that reads images, or use a model of the engines container "
    "or remote that takes videos."
)
FILE = "Send the text of a file, or its pages as images to a model that reads images."

INSTEAD = {
    "image_url": IMAGE, "input_image": IMAGE, "image": IMAGE,
    "input_audio": AUDIO, "audio_url": AUDIO, "video_url": VIDEO,
    "file": FILE, "input_file": FILE, "document": FILE,
}  # fmt: skip
"""By the type of a part in chats, responses and messages."""


def refused_part(kind: str, place: str, spec: ModelSpec) -> UnsupportedParameter:
    """The error for a part of a type in INSTEAD, at a place in the request."""
    known = ", ".join(modality.value for modality in spec.input_modalities)
    return UnsupportedParameter(
        f"{place!r} is of type {kind!r}, but the model {spec.model!r} takes {known}. "
        f"{INSTEAD[kind]}",
        param=place,
    )
