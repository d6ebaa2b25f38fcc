from __future__ import annotations

import re
import time

import pytest

from fleet_server.engines.llamacpp.long_runs import MOST, divided, spaced

RUN = re.compile(r"[^ \t\r\n]+|\s+")


def longest(text: str) -> int:
    return max((len(run) for run in RUN.findall(text)), default=0)


@pytest.mark.parametrize("text", [
    "", "One line.\n\nAnother, with a word.", "word " * 20_000, "a" * MOST, " " * MOST,
    "\u4f60\u597d\u3002\n" * 9000,
])  # fmt: skip
def test_other_texts_are_whole(text: str) -> None:
    assert divided(text) == [text]
    assert spaced(text) == text


@pytest.mark.parametrize("text", [
    "a" * 100_000, " " * 100_000, "\n" * 30_000, "." * 30_000,
    "before " + "ab1" * 30_000 + " after",
    "a\u3000" * 10_000 + " \u3000" * 30_000, "\x1c." * 30_000, "e\u0301" * 30_000,
    "\u4f60\u597d\u3002" * 9000,
])  # fmt: skip
def test_long_runs_are_divided(text: str) -> None:
    parts = divided(text)
    assert "".join(parts) == text
    assert max(map(longest, parts)) <= MOST
    assert longest(spaced(text)) <= MOST


def test_a_run_is_divided_before_a_sign() -> None:
    first, *others = divided("\u4f60\u597d\u3002" * 5000)
    assert first.endswith("\u597d")
    assert others[0].startswith("\u3002")


@pytest.mark.parametrize("before", range(MOST - 12, MOST + 2))
def test_special_tokens_are_whole(before: int) -> None:
    text = "a" * before + "<|im_end|>" + "b" * MOST
    parts = divided(text, re.compile(re.escape("<|im_end|>")))
    assert "".join(parts) == text
    assert sum("<|im_end|>" in part for part in parts) == 1
    assert "<|im_end|>" in spaced(text, re.compile(re.escape("<|im_end|>")))


def test_the_time_is_linear() -> None:
    def seconds(text: str) -> float:
        began = time.process_time()
        divided(text)
        return time.process_time() - began

    short = max(seconds(("a" * (MOST - 1) + " ") * 12), 0.001)
    assert seconds(("a" * (MOST - 1) + " ") * 120) < 100 * short
