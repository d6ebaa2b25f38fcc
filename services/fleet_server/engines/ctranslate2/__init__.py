"""Whisper on CTranslate2, on a CPU or CUDA."""

from __future__ import annotations

from fleet_server.engines.ctranslate2.engine import SpeechEngine

__all__ = ["SpeechEngine"]
