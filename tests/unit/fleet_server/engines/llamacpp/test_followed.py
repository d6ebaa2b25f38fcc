"""Texts that do not follow their format."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fleet_contract.errors import BadRequest
from fleet_server.engines.guided.compiler import GrammarCompiler
from fleet_server.engines.guided.elsewhere import SourceFormat, in_source, source_compiler
from fleet_server.engines.llamacpp.followed import followed
from fleet_server.generation.tool_parsers import call_grammar, families
from fleet_server.protocols import Finish, FormatKind, OutputFormat


@pytest.fixture(scope="module")
def compiler() -> Iterator[GrammarCompiler]:
    made = source_compiler()
    yield made
    made.close()


def of_pattern(compiler: GrammarCompiler, pattern: str) -> SourceFormat:
    return in_source(
        compiler.compile(OutputFormat(pattern, "p", FormatKind.REGEX)), lambda _: None, "p"
    )


def test_a_text_is_checked_as_it_grows(compiler: GrammarCompiler) -> None:
    wanted = of_pattern(compiler, "[a-c]{2}-日")
    for _ in range(2):
        check = followed(wanted)
        assert check is not None
        check.check("a", None)
        check.check("", None)
        check.check("b-日", Finish.STOP)


def test_a_space_that_the_masks_do_not_see_is_accepted(compiler: GrammarCompiler) -> None:
    check = followed(of_pattern(compiler, r"\[1, 2\]"))
    assert check is not None
    check.check("[1 ,", None)
    check.check(" 2", None)
    check.check(" ]", Finish.STOP)


@pytest.mark.parametrize(
    ("parts", "finish"), [(["a", "x"], None), (["a"], Finish.STOP), (["ab-日", "日"], Finish.STOP)]
)
def test_other_texts_end_with_an_error(
    compiler: GrammarCompiler, parts: list[str], finish: Finish | None
) -> None:
    check = followed(of_pattern(compiler, "[a-c]{2}-日"))
    assert check is not None
    for part in parts[:-1]:
        check.check(part, None)
    with pytest.raises(BadRequest) as caught:
        check.check(parts[-1], finish)
    assert (caught.value.param, caught.value.code) == ("p", "schema_too_expensive")


def test_a_text_that_was_cut_is_none_that_does_not_follow(compiler: GrammarCompiler) -> None:
    check = followed(of_pattern(compiler, "日日"))
    assert check is not None
    check.check("\ufffd", Finish.LENGTH)


def test_special_tokens_are_left_to_the_engine(compiler: GrammarCompiler) -> None:
    arguments = OutputFormat('{"type": "object"}', "p")
    wanted = call_grammar.optional([("now", arguments)], families.HERMES, ())
    assert wanted is not None
    grammar = compiler.compile(wanted)
    assert followed(in_source(grammar, lambda _: None, "p")) is not None
    assert followed(in_source(grammar, lambda _: 7, "p")) is None
    assert followed(None) is None
