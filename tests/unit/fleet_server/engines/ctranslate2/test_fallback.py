"""Which results of the model are accepted."""

from __future__ import annotations

from dataclasses import replace

from fleet_server.engines.ctranslate2.fallback import DecodingResult, best, compression_ratio

GOOD = DecodingResult(
    (1, 2), avg_logprob=-0.3, no_speech_prob=0.1, compression_ratio=1.2, temperature=0
)


def test_a_likely_result_is_accepted() -> None:
    assert not GOOD.is_doubtful
    assert not GOOD.is_silence


def test_repetition_and_low_probability_are_doubtful() -> None:
    assert replace(GOOD, compression_ratio=2.5).is_doubtful
    assert replace(GOOD, avg_logprob=-1.1).is_doubtful


def test_silence_is_not_retried() -> None:
    silence = replace(GOOD, avg_logprob=-1.1, no_speech_prob=0.7)
    assert silence.is_silence
    assert not silence.is_doubtful
    assert not replace(silence, avg_logprob=-0.5).is_silence


def test_the_best_doubtful_result_has_no_repetition() -> None:
    loop = replace(GOOD, compression_ratio=9.0, avg_logprob=-0.1)
    unsure = replace(GOOD, avg_logprob=-1.5)
    less_sure = replace(GOOD, avg_logprob=-2.5)
    assert best([loop, less_sure, unsure]) is unsure
    assert best([loop, replace(loop, avg_logprob=-0.2)]) is loop


def test_text_that_repeats_itself_compresses_well() -> None:
    assert compression_ratio("and so on " * 30) > 2.4
    assert compression_ratio("The quick brown fox jumps over the lazy dog.") < 1.5
    assert compression_ratio("") == 0
