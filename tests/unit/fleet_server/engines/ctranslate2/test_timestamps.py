"""Tokens are split where Whisper put its timestamps."""

from __future__ import annotations

from fleet_server.engines.ctranslate2.timestamps import TimedTokens, split

BEGIN = 1000


def at(seconds: float) -> int:
    return BEGIN + round(seconds / 0.02)


def test_pieces_between_pairs_of_timestamps() -> None:
    tokens = [at(0), 5, 6, at(2.5), at(3), 7, at(4)]
    assert split(tokens, BEGIN, 10, truncated=False) == [
        TimedTokens(0, 2.5, (at(0), 5, 6, at(2.5))),
        TimedTokens(3, 4, (at(3), 7, at(4))),
    ]


def test_an_open_end_lasts_until_the_window_does() -> None:
    tokens = [at(0), 5, at(2), at(2), 6]
    assert split(tokens, BEGIN, 9.5, truncated=False)[-1] == TimedTokens(2, 9.5, (at(2), 6))


def test_a_truncated_result_leaves_its_open_end_for_the_next_pass() -> None:
    tokens = [at(0), 5, at(2), at(2), 6]
    assert split(tokens, BEGIN, 9.5, truncated=True) == [TimedTokens(0, 2, (at(0), 5, at(2)))]


def test_text_without_a_pair_is_one_piece_even_when_cut_short() -> None:
    for cut_short in (False, True):
        assert split([at(0), 5, 6], BEGIN, 8, truncated=cut_short) == [
            TimedTokens(0, 8, (at(0), 5, 6))
        ]
    assert split([5, 6], BEGIN, 8, truncated=False) == [TimedTokens(0, 8, (5, 6))]


def test_single_timestamps_follow_each_other() -> None:
    tokens = [at(0), 5, at(2), 6, at(3)]
    found = split(tokens, BEGIN, 10, truncated=False)
    assert [(piece.start, piece.end) for piece in found] == [(0, 2), (2, 3)]


def test_times_stay_inside_the_window_and_run_forwards() -> None:
    tokens = [at(0), 5, at(29), at(28), 6, at(3)]
    found = split(tokens, BEGIN, 12, truncated=False)
    assert [(piece.start, piece.end) for piece in found] == [(0, 12), (12, 12)]


def test_timestamps_without_text_are_dropped() -> None:
    assert split([], BEGIN, 5, truncated=False) == []
    assert split([at(0), at(1), at(2)], BEGIN, 5, truncated=False) == []
