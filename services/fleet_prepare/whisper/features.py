"""preprocessor_config.json: how audio becomes a log-mel spectrogram."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fleet_prepare.json_file import read_object
from fleet_prepare.whisper.shape import Shape
from fleet_weights.errors import WeightsError

DEFAULTS = {"sampling_rate": 16_000, "hop_length": 160, "chunk_length": 30, "n_fft": 400}
"""Of every model of OpenAI's. The encoder reads one position for every two hops."""


def features(folder: Path, shape: Shape) -> dict[str, Any]:
    """The settings of `folder`, with the mel bins that the first convolution was trained on.

    They are in preprocessor_config.json, in newer repositories in processor_config.json. The mel
    filters that older ones carry are left out: they follow from the settings.
    """
    found = read_object(folder / "preprocessor_config.json")
    if found is None:
        nested = (read_object(folder / "processor_config.json") or {}).get("feature_extractor")
        found = nested if isinstance(nested, dict) else {}
    chosen = {name: found.get(name, default) for name, default in DEFAULTS.items()}
    for name, value in chosen.items():
        if type(value) is not int or value < 1:
            raise WeightsError(f"{folder}: {name} of the preprocessor is {value!r}.")
    hops = chosen["sampling_rate"] * chosen["chunk_length"] // chosen["hop_length"]
    if hops != 2 * shape.max_source_positions:
        raise WeightsError(
            f"{folder}: the preprocessor makes {hops} frames of a window, the encoder reads "
            f"{2 * shape.max_source_positions}."
        )
    return {
        "feature_extractor_type": "WhisperFeatureExtractor",
        "feature_size": shape.num_mel_bins,
        "n_samples": chosen["sampling_rate"] * chosen["chunk_length"],
        "nb_max_frames": hops,
        **chosen,
    }
