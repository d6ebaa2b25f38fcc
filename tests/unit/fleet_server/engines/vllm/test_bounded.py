"""How the text of a generation whose reasoning is bounded is put together. Each token is a byte."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from fleet_server.engines.sampling.reasoning_limit import ReasoningLimit
from fleet_server.engines.vllm.bounded import BoundedText
from fleet_server.protocols import Finish, ReasoningBudget, Sampling, Step, TokenLogprobs
from support.scripted_chat import Bytes


def bounded(
    tokens: int, most: int = 40, *, is_open: bool = True, logprobs: int | None = None
) -> BoundedText:
    budget = ReasoningBudget(tokens, "<t>", "</t>", is_open)
    sampling = Sampling(most, seed=5, logprobs=logprobs, prompt_logprobs=logprobs is not None)
    return BoundedText(sampling, ReasoningLimit(budget, Bytes()))


def steps(text: str, size: int, most: int, probable: bool) -> Sequence[Step]:
    """Those of a model that writes `text` with `size` tokens in a step, `most` in all."""
    ids, found = list(text.encode()), list[Step]()
    for start in range(0, max(1, min(len(ids), most)), size):
        part = ids[start : min(start + size, most)]
        finish = None
        if start + size >= min(len(ids), most):
            finish = Finish.STOP if len(ids) < most else Finish.LENGTH
        logprobs = [TokenLogprobs(each, -1.0) for each in part] if probable else ()
        found.append(Step(part, finish, logprobs=logprobs, cached_tokens=7 if not start else None))
    return found


def written(text: BoundedText, wanted: str, size: int = 1) -> list[Step]:
    """The steps of a model that writes `wanted`, and goes on where it was interrupted."""
    found, rest = list[Step](), wanted
    while not text.ended:
        forced, options = text.forced, text.part()
        probable = options.logprobs is not None
        if forced is not None and not probable:
            found.append(text.close())
            continue
        ours = chr(forced) if forced is not None else rest
        most = 1 if forced is not None else options.max_tokens
        for step in steps(ours, size, most, probable):
            found.append(text.take(step, forced))
            if forced is None:
                rest = rest[len(found[-1].token_ids) :]
            if text.forced is not None or text.ended:
                break
    return found


@pytest.mark.parametrize("size", [1, 2, 5, 50])
@pytest.mark.parametrize("logprobs", [None, 0])
@pytest.mark.parametrize(
    ("tokens", "wanted", "text"),
    [
        (3, "abcdefg", "abc</t>defg"),
        (0, "abc", "</t>abc"),
        (3, "abc", "abc</t>"),
        (9, "ab</t>cdefghijk", "ab</t>cdefghijk"),
        (3, "ab", "ab"),
        # In steps of any size the part ends at the bound.
        (3, "abc</t>d", "abc</t></t>d"),
    ],
)
def test_the_mark_follows_the_last_token(
    tokens: int, wanted: str, text: str, size: int, logprobs: int | None
) -> None:
    one = bounded(tokens, logprobs=logprobs)
    found = written(one, wanted, size)
    assert bytes(one.ids).decode() == text
    assert [token for step in found for token in step.token_ids] == one.ids
    assert [step.finish for step in found if step.finish is not None] == [Finish.STOP]
    assert found[-1].finish is Finish.STOP
    if logprobs is not None:
        assert [each.token_id for step in found for each in step.logprobs] == one.ids


@pytest.mark.parametrize("size", [1, 3, 50])
@pytest.mark.parametrize("logprobs", [None, 0])
@pytest.mark.parametrize("most", range(1, 12))
def test_the_length_is_that_of_all_parts(most: int, logprobs: int | None, size: int) -> None:
    one = bounded(3, most, logprobs=logprobs)
    found = written(one, "abcdefghijklmnop", size)
    assert bytes(one.ids).decode() == "abc</t>defghijklmnop"[:most]
    assert [step.finish for step in found if step.finish is not None] == [Finish.LENGTH]
    assert found[-1].finish is Finish.LENGTH


def test_a_text_that_opens_the_reasoning() -> None:
    one = bounded(2, is_open=False)
    written(one, "<t>abcd", 4)
    assert bytes(one.ids).decode() == "<t>ab</t>cd"


def test_later_parts_repeat_nothing_of_the_first() -> None:
    one = bounded(2, logprobs=0)
    first = one.part()
    assert (first.seed, first.prompt_logprobs, first.max_tokens) == (5, True, 40)
    found = one.take(Step(list(b"abc"), cached_tokens=7))
    assert (bytes(found.token_ids), found.cached_tokens) == (b"ab", 7)
    later = one.part()
    assert (later.seed, later.prompt_logprobs, later.max_tokens) == (6, False, 38)
    assert one.take(Step(list(b"<"), cached_tokens=9), ord("<")).cached_tokens is None


def test_an_error_ends_the_text() -> None:
    one = bounded(0)
    failed = RuntimeError()
    assert one.take(Step((), error=failed)).error is failed
    assert one.ended
