"""Warms up a speech model with a synthetic voice."""

from __future__ import annotations

import numpy as np

from fleet_server.protocols import Float32, SpeechModel, SpeechOptions, WarmsUp

RATE = 16_000
SECONDS = 3


def warm(model: SpeechModel) -> None:
    """Run one transcription of a synthetic voice, or the model's own warm-up.

    The text does not matter, so the temperature is fixed to avoid retries. Raises what the model
    raises.
    """
    if isinstance(model, WarmsUp):
        model.warm(voice())
    else:
        model.transcribe(voice(), SpeechOptions(language="en", temperature=0.0), lambda: False)


def voice() -> Float32:
    """A pulse train through three formants, modulated as syllables, float32 at 16 kHz: similar
    enough to a vowel for a speech detector, so that all steps of the engine run."""
    time = np.arange(SECONDS * RATE) / RATE
    pitch = 120 + 20 * np.sin(2 * np.pi * 0.7 * time)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    sound = np.zeros_like(time)
    for harmonic in range(1, 30):
        frequency = harmonic * 120
        gain = sum(
            weight / (1 + ((frequency - formant) / 90) ** 2)
            for formant, weight in ((700, 1.0), (1220, 0.5), (2600, 0.25))
        )
        sound += gain * np.sin(harmonic * phase)
    syllables = np.clip(np.sin(2 * np.pi * 3 * time), 0, 1)
    return np.asarray(0.3 * syllables * sound / np.abs(sound).max(), dtype=np.float32)
