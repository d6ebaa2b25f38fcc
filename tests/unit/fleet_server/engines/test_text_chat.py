from __future__ import annotations

from typing import Any

import pytest

from fleet_contract.errors import BadRequest
from fleet_server.engines.chat_template import ChatTemplate
from fleet_server.engines.special_text import SEAM, SpecialText
from fleet_server.engines.text_chat import END, check_shown, rendered, text_of
from fleet_server.protocols import NO_ARGUMENTS, NoReasoning, TemplateArguments

SPECIAL = SpecialText(["<end>"])
TEMPLATE = ChatTemplate(
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}"
    "{% endif %}{{ m.content }}<end>{% endfor %}",
    {},
)


def prompt(role: str, content: Any, images: tuple[Any, ...] = ()) -> str:
    return rendered(TEMPLATE, SPECIAL, [{"role": role, "content": content}], images, NO_ARGUMENTS)


def test_special_tokens_of_users_have_seams_and_those_of_the_template_none() -> None:
    parts = [{"type": "text", "text": "a <end>"}, {"type": "text", "text": "b"}]
    assert prompt("user", parts) == f"a <{SEAM}end>\nb<end>"


def test_what_the_template_refuses_is_an_error_of_the_messages() -> None:
    with pytest.raises(BadRequest, match="refuses these messages: no system") as caught:
        prompt("system", "a")
    assert caught.value.param == "messages"


def test_images_are_refused() -> None:
    with pytest.raises(BadRequest, match="does not read images"):
        prompt("user", "a", images=(object(),))


def test_the_text_of_a_content_leaves_images_out() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:"}}
    assert text_of([{"type": "text", "text": "a"}, image, {"type": "text", "text": "b"}]) == "a\nb"


@pytest.mark.parametrize("shown", [0, 1, 3])
def test_each_image_of_the_messages_has_one_placeholder(shown: int) -> None:
    check_shown(2, 2)
    with pytest.raises(BadRequest, match=f"does not show the images.* have 2.* has {shown}") as got:
        check_shown(2, shown)
    assert got.value.param == "messages"


CHATML = ChatTemplate(
    "{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}<end>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}",
    {},
)
TURNS = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "The answer is "}]


@pytest.mark.parametrize(
    ("arguments", "ending"),
    [
        (NO_ARGUMENTS, "The answer is<end><assistant>"),
        (TemplateArguments(generation_prompt=False), "The answer is<end>"),
        (TemplateArguments(continues=True), "The answer is "),
    ],
)
def test_how_a_prompt_ends(arguments: TemplateArguments, ending: str) -> None:
    """A text that is continued keeps its last space, although the template trims it."""
    text = rendered(CHATML, SPECIAL, TURNS, (), arguments)
    assert text == f"<user>a<end><assistant>{ending}"
    assert TURNS[-1]["content"] == "The answer is "


def test_marks_in_earlier_messages_do_not_end_the_prompt() -> None:
    messages = [{"role": "user", "content": END}, {"role": "assistant", "content": f"b{END}c"}]
    text = rendered(CHATML, SPECIAL, messages, (), TemplateArguments(continues=True))
    assert text == f"<user>{END}<end><assistant>b{END}c"


def test_a_message_that_the_template_hides_cannot_be_continued() -> None:
    hiding = ChatTemplate("{{ messages[0].content }}", {})
    with pytest.raises(BadRequest, match="does not show the last message"):
        rendered(hiding, SPECIAL, TURNS, (), TemplateArguments(continues=True))


@pytest.mark.parametrize(
    ("begun", "always", "ending"),
    [
        ("<think>\n", False, "<think>\n\n</think>\n\n"),
        ("<think>", True, "<think></think>"),
        ("", True, "<think>\n\n</think>\n\n"),
        ("", False, ""),
        ("<think>\n\n</think>\n\n", False, "<think>\n\n</think>\n\n"),
    ],
)
def test_a_prompt_without_reasoning(begun: str, always: bool, ending: str) -> None:
    template = ChatTemplate(f"{{{{ messages[0].content }}}}<assistant>{{{{ {begun!r} }}}}", {})
    marks = NoReasoning("<think>", "</think>", always)
    for arguments, expected in (
        (TemplateArguments(no_reasoning=marks), ending),
        (TemplateArguments(no_reasoning=marks, generation_prompt=False), begun),
    ):
        text = rendered(template, SPECIAL, TURNS[:1], (), arguments)
        assert text == f"a<assistant>{expected}"
