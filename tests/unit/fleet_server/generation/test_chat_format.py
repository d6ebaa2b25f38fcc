"""What is read from chat templates."""

from __future__ import annotations

import pytest

from fleet_server.generation import chat_format

QWEN = """{%- if tools %}{{ tools | tojson }} in <tool_call></tool_call>{% endif %}
{%- for message in messages %}{{ message.content.split('</think>')[-1] }}
{%- for call in message.tool_calls %}{{ call.function.arguments | tojson }}{% endfor %}
{%- endfor %}{% set own = 1 %}{{ own }}
{%- if enable_thinking is defined and enable_thinking is false %}<think></think>{% endif %}"""
DEEPSEEK = "{{ '```json\\n' + tool['function']['arguments'] + '\\n```' }}"


def test_a_template_with_tools_and_reasoning() -> None:
    found = chat_format.read(QWEN)
    assert found.tools
    assert found.syntax.name == "hermes"
    assert found.reasoning is not None
    assert found.marks == ("<think>", "</think>")
    assert found.variables == {"enable_thinking"}
    assert not found.arguments_as_text


@pytest.mark.parametrize("template", ["", "{{ messages }}", "{% if %}", "{{ strftime_now('%Y') }}"])
def test_a_template_without_either(template: str) -> None:
    found = chat_format.read(template)
    assert not found.tools
    assert found.syntax.name == "json"
    assert found.marks == ()
    assert found.variables == set()


def test_the_servers_own_variables_are_not_for_requests() -> None:
    names = "tools documents bos_token add_generation_prompt chat_template padding other"
    template = "".join(f"{{{{ {name} }}}}" for name in names.split())
    assert chat_format.read(template).variables == {"other"}


@pytest.mark.parametrize(
    ("template", "as_text"),
    [
        (DEEPSEEK, True),
        ("{{ 'a' + tool.function.arguments + 'b' }}", True),
        ("{{ '{' + tool_call['arguments'] }}", True),
        ("{{ 'a' + tool.function.arguments | tojson }}", False),
        ("{{ tool['function']['arguments'] | tojson + 'b' }}", False),
    ],
)
def test_templates_that_join_the_arguments_to_a_text(template: str, as_text: bool) -> None:
    assert chat_format.read(template).arguments_as_text is as_text
