"""Chat templates as transformers renders them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from fleet_server.engines import chat_template
from fleet_server.engines.chat_template import ChatTemplate, TemplateRefusal, variables
from fleet_server.load_error import LoadError
from fleet_server.protocols import TemplateArguments

MESSAGES = [
    {"role": "system", "content": "Short & <b>"},
    {"role": "user", "content": " é 日本 \n"},
    {"role": "assistant", "content": "yes"},
    {"role": "user", "content": "{{ 1 }}"},
]
TEMPLATES = {
    "blocks are trimmed": "{% for m in messages %}\n  {% if m.role == 'user' %}\n<{{ m.content }}>"
    "\n  {% endif %}\n{% endfor %}\n",
    "tojson": "{{ messages | tojson }} {{ messages | tojson(indent=2) }}",
    "loop controls": "{% for m in messages %}{% if loop.index > 2 %}{% break %}{% endif %}"
    "{{ m.role }}{% endfor %}",
    "generation": "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}"
    "{% endfor %}{% if add_generation_prompt %}>{% endif %}",
    "names": "{{ bos_token }}{% if tools is none and documents is none %}plain{% endif %}",
    "macros": "{% macro say(x) %}[{{ x | trim | upper }}]{% endmacro %}"
    "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}"
    "{{ say(m['content']) }}{% endfor %}{{ ns.n }}{{ messages[-1].content.split('1')[0] }}",
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_is_rendered_as_by_transformers(name: str) -> None:
    source = TEMPLATES[name]
    wanted, _ = render_jinja_template(
        [MESSAGES], chat_template=source, add_generation_prompt=True, bos_token="<s>"
    )
    assert ChatTemplate(source, {"bos_token": "<s>"}).render(MESSAGES) == wanted[0]


def test_tools_and_variables_are_rendered_as_by_transformers() -> None:
    source = (
        "{{ tools | tojson(indent=2) }}{% if not enable_thinking %}no{% endif %}{{ bos_token }}"
    )
    tools = [{"type": "function", "function": {"name": "f", "description": "ä <&>"}}]
    wanted, _ = render_jinja_template(
        [MESSAGES], tools=tools, chat_template=source, enable_thinking=False, bos_token="<s>"
    )
    arguments = TemplateArguments(tools, {"enable_thinking": False, "bos_token": "other"})
    assert ChatTemplate(source, {"bos_token": "<s>"}).render(MESSAGES, arguments) == wanted[0]


def test_the_variables_of_a_template() -> None:
    source = "{% set own = 1 %}{{ own }}{{ other }}{{ strftime_now('%Y') }}{{ range(3) }}"
    assert variables(source) == {"other"}
    assert variables("{% generation %}{{ a }}{% endgeneration %}") == {"a"}
    assert variables("{% if %}") == set()


def test_the_date_is_todays() -> None:
    found = ChatTemplate("{{ strftime_now('%Y') }}", {}).render([])
    assert len(found) == 4
    assert found > "2000"


@pytest.mark.parametrize(
    "source",
    ["{{ raise_exception('no such role') }}", "{{ messages[7].content + 1 }}", "{{ 1 / 0 }}",
     "{{ ''.__class__.__mro__ }}", "{{ messages.append(1) }}", "{{ missing() }}",
     "{% for _ in range(1000000) %}{% endfor %}",
     "{% macro deep(schema) %}{{ deep(schema) }}{% endmacro %}{{ deep({}) }}"],
)  # fmt: skip
def test_errors_in_a_template_are_refusals(source: str) -> None:
    with pytest.raises(TemplateRefusal):
        ChatTemplate(source, {}).render(MESSAGES)


def test_the_error_for_invalid_jinja_names_the_line() -> None:
    with pytest.raises(LoadError, match="line 2"):
        ChatTemplate("a\n{% if %}", {})


def put(folder: Path, **files: Any) -> Path:
    for name, content in files.items():
        stem, _, suffix = name.rpartition("_")
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / f"{stem}.{suffix}").write_text(text)
    return folder


def test_files_with_a_template_in_order_of_precedence(tmp_path: Path) -> None:
    assert chat_template.read(tmp_path) is None
    put(tmp_path, chat_template_json={"chat_template": "third"})
    assert rendered(tmp_path) == "third"
    several = [{"name": "tool_use", "template": "x"}, {"name": "default", "template": "second"}]
    put(tmp_path, tokenizer_config_json={"chat_template": several})
    assert rendered(tmp_path) == "second"
    put(tmp_path, chat_template_jinja="first")
    assert rendered(tmp_path) == "first"


def test_special_tokens_are_read_in_either_form(tmp_path: Path) -> None:
    put(
        tmp_path, chat_template_jinja="{{ bos_token }}{{ eos_token }}{{ pad_token }}",
        special_tokens_map_json={"pad_token": "<pad>", "eos_token": "old"},
        tokenizer_config_json={"bos_token": {"content": "<s>"}, "eos_token": "</s>"},
    )  # fmt: skip
    assert rendered(tmp_path) == "<s></s><pad>"


def rendered(folder: Path) -> str:
    template = chat_template.read(folder)
    assert template is not None
    return template.render(MESSAGES)


@pytest.mark.parametrize("content", ["{", b"\xff"])
def test_a_damaged_file_is_named(tmp_path: Path, content: Any) -> None:
    data = content if isinstance(content, bytes) else content.encode()
    (tmp_path / "tokenizer_config.json").write_bytes(data)
    with pytest.raises(LoadError, match="tokenizer_config"):
        chat_template.read(tmp_path)
