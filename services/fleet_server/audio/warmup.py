"""Runs a speech model once before it is called ready; called by fleet_server.startup.warmup."""

from __future__ import annotations

import numpy as np

from fleet_server.protocols import Float32, SpeechModel, SpeechOptions, WarmsUp

RATE = 16_000
SECONDS = 3


def warm(model: SpeechModel) -> None:
    """One transcription of a voice-like sound, or what of one the model needs. Nobody trusts its
    text: hence no second try at higher temperatures. Raises what the model raises."""
    if isinstance(model, WarmsUp):
        model.warm(voice())
    else:
        model.transcribe(voice(), SpeechOptions(language="en", temperature=0.0), lambda: False)


def voice() -> Float32:
    """A pulse train through three formants with syllables, float32 at 16 kHz: enough like a vowel
    for a detector of speech, so that the whole engine is run and not only its first step."""
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
