from __future__ import annotations

import random

import pytest

from fleet_server.generation.detokenize import MOST_HELD, TextStream


def decode_bytes(ids: list[int]) -> str:
    """A byte-level vocabulary: every token is one byte."""
    return bytes(ids).decode("utf-8", "replace")


def decode_words(ids: list[int]) -> str:
    """A vocabulary whose words carry their space in front, which is cut at the very start."""
    return "".join(f" w{i}" for i in ids)[1:]


def run(text: str, stop: tuple[str, ...] = (), sizes: int = 1) -> tuple[list[str], bool]:
    stream = TextStream(decode_bytes, stop)
    ids = list(text.encode())
    pieces = [stream.feed(ids[at : at + sizes]) for at in range(0, len(ids), sizes)]
    return [*pieces, stream.flush()], stream.stopped


@pytest.mark.parametrize("sizes", [1, 2, 3, 7])
def test_unfinished_characters_are_held(sizes: int) -> None:
    pieces, _ = run("naïve 日本語 👩‍👩‍👧 end", sizes=sizes)
    assert "".join(pieces) == "naïve 日本語 👩‍👩‍👧 end"
    assert not any("\ufffd" in piece for piece in pieces)


def test_a_real_replacement_character_comes_at_the_end() -> None:
    stream = TextStream(decode_bytes)
    assert stream.feed(list(b"ok\xff")) == ""
    assert stream.flush() == "ok\ufffd"


@pytest.mark.parametrize("size", [1, 5, 100])
def test_bytes_of_no_character_are_not_decoded_again_and_again(size: int) -> None:
    longest = 0

    def decode(ids: list[int]) -> str:
        nonlocal longest
        longest = max(longest, len(ids))
        return decode_bytes(ids)

    stream = TextStream(decode)
    ids = [0xE4] * 500 + list("日本語".encode())
    pieces = [stream.feed(ids[at : at + size]) for at in range(0, len(ids), size)]
    assert "".join([*pieces, stream.flush()]) == decode_bytes(ids)
    assert longest <= 2 * (MOST_HELD + size)


def test_characters_in_large_steps_stay_whole() -> None:
    ids = list(("日本語 " * 20).encode()) + [0xFF] * 20 + list("👩‍👩‍👧".encode())
    for size in range(1, len(ids)):
        stream = TextStream(decode_bytes)
        pieces = [stream.feed(ids[at : at + size]) for at in range(0, len(ids), size)]
        assert "".join([*pieces, stream.flush()]) == decode_bytes(ids)


def test_tokens_without_text_are_not_decoded_again_and_again() -> None:
    longest = 0

    def decode(ids: list[int]) -> str:
        nonlocal longest
        longest = max(longest, len(ids))
        return decode_words([each for each in ids if each])

    stream = TextStream(decode)
    pieces = [stream.feed([each]) for each in [1, 2, *[0] * 500, 3, 4]]
    assert "".join([*pieces, stream.flush()]) == "w1 w2 w3 w4"
    assert longest <= 2 * MOST_HELD


def test_spaces_between_words_survive() -> None:
    stream = TextStream(decode_words)
    assert "".join([*(stream.feed([i]) for i in range(5)), stream.flush()]) == "w0 w1 w2 w3 w4"


def test_the_text_continues_after_a_tail() -> None:
    stream = TextStream(decode_words, tail=[7, 8])
    assert "".join([*(stream.feed([i]) for i in range(3)), stream.flush()]) == " w0 w1 w2"
    stopping = TextStream(decode_words, ["w8", " w1"], tail=[7, 8])
    assert "".join(stopping.feed([i]) for i in range(3)) == " w0"
    assert stopping.stopped


def test_a_tail_may_end_within_a_character() -> None:
    whole = list("café au lait".encode())
    stream = TextStream(decode_bytes, tail=whole[:4])
    assert "".join([*(stream.feed([byte]) for byte in whole[4:]), stream.flush()]) == "é au lait"


@pytest.mark.parametrize(
    ("text", "stop", "shown"),
    [
        ("one two three", ("two",), "one "),
        ("one two three", ("three", "two"), "one "),
        ("aaaa", ("b",), "aaaa"),
        ("ENDING", ("END",), ""),
        ("almost EN", ("END",), "almost EN"),
        ("x\n\ny", ("\n\n",), "x"),
        ("ab", ("ab", "abc"), ""),
        ("xabc", ("abc", "b"), "xa"),
    ],
)
def test_stop_strings_are_never_emitted(text: str, stop: tuple[str, ...], shown: str) -> None:
    pieces, stopped = run(text, stop)
    assert "".join(pieces) == shown
    assert stopped is (shown != text)


def test_emitted_text_is_never_retracted() -> None:
    rng = random.Random(7)
    for _ in range(500):
        text = "".join(rng.choice("ab€") for _ in range(rng.randrange(12)))
        stop = tuple("".join(rng.choice("ab€") for _ in range(rng.randrange(1, 4))) for _ in "xy")
        pieces, stopped = run(text, stop, sizes=rng.randrange(1, 4))
        cut = first_stop(text, stop)
        assert "".join(pieces) == (text if cut is None else text[:cut])
        assert stopped is (cut is not None)


def first_stop(text: str, stop: tuple[str, ...]) -> int | None:
    """Start of the stop string that is complete first, by a naive search."""
    found = [(text.index(word) + len(word), text.index(word)) for word in stop if word in text]
    return min(found)[1] if found else None


def test_held_text_is_available_when_generation_is_interrupted() -> None:
    stream = TextStream(decode_bytes, ("END",))
    assert stream.feed(list(b"almost EN")) == "almost "
    assert stream.rest() == "EN"
    assert stream.rest() == ""


def test_text_of_an_engine_that_decodes_itself_is_searched_for_stop_strings() -> None:
    stream = TextStream(lambda _: pytest.fail("decoded"), ("END",))
    assert [stream.feed_text(text) for text in ("one E", "", "N", "ough E", "ND two")] == [
        "one ", "", "", "ENough ", "",
    ]  # fmt: skip
    assert stream.stopped
    assert stream.flush() == ""


def test_text_held_back_is_returned_at_the_end() -> None:
    stream = TextStream(lambda _: pytest.fail("decoded"), ("END",))
    assert stream.feed_text("almost EN") == "almost "
    assert stream.flush() == "EN"
    assert not stream.stopped
