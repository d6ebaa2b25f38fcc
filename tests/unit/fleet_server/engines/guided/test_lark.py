from __future__ import annotations

from fleet_server.engines.guided.lark import Plan


def test_a_text_in_front_of_a_special_token_is_escaped_once() -> None:
    grammar = Plan("", marks=("a\n/\0.<tool>", "<tool>")).text({"<tool>": 7}.get)
    assert r"UNTIL_0: /(.|\n)*a\n\/\x00\./" in grammar.splitlines()
