"""Warm-up runs the model once on something that sounds like a voice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fleet_server.audio.warmup import voice, warm
from fleet_server.engines.ctranslate2.speech import find_speech


def test_the_model_is_run_once_without_fallback(counting_model: Callable[..., Any]) -> None:
    model = counting_model(("en",))
    warm(model)
    assert [options.temperature for options in model.asked] == [0.0]


def test_a_warm_up_method_of_the_model_is_used(counting_model: Callable[..., Any]) -> None:
    model, heard = counting_model(("en",)), []
    model.warm = heard.append
    warm(model)
    assert [len(sound) for sound in heard] == [len(voice())]
    assert model.asked == []


def test_the_warm_up_sound_is_detected_as_speech() -> None:
    sound = voice()
    assert sound.dtype == np.float32
    assert np.abs(sound).max() <= 1
    assert find_speech(sound, lambda: False)
