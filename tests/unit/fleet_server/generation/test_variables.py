"""Variables of the chat template that a request sets."""

from __future__ import annotations

from typing import Any

import pytest

from fleet_contract.errors import UnsupportedParameter
from fleet_server.generation import chat_format
from fleet_server.generation.variables import read_variables, wants_reasoning

QWEN = chat_format.read("{{ enable_thinking }}</think>")
GRANITE = chat_format.read("{{ thinking }}")
OSS = chat_format.read("{{ reasoning_effort }}")
R1 = chat_format.read("<think>\n</think>")
PLAIN = chat_format.read("{{ messages }}")


@pytest.mark.parametrize(
    ("form", "given", "effort", "guided", "expected"),
    [
        (QWEN, None, None, False, {}),
        (QWEN, {"enable_thinking": False, "other": 1, "tools": "x"}, None, False,
         {"enable_thinking": False}),
        (QWEN, None, "none", False, {"enable_thinking": False}),
        (QWEN, None, "low", False, {"enable_thinking": True}),
        (QWEN, {"enable_thinking": True}, "none", False, {"enable_thinking": True}),
        (QWEN, None, None, True, {"enable_thinking": False}),
        (QWEN, {"enable_thinking": True}, None, True, {"enable_thinking": True}),
        (GRANITE, None, "high", False, {"thinking": True}),
        (OSS, None, "high", False, {"reasoning_effort": "high"}),
        (OSS, None, None, True, {}),
        (PLAIN, None, "none", False, {}),
        (R1, None, "none", False, {}),
        (PLAIN, {"enable_thinking": True}, None, True, {}),
    ],
)  # fmt: skip
def test_variables(
    form: Any, given: Any, effort: str | None, guided: bool, expected: dict[str, Any]
) -> None:
    assert read_variables(given or {}, effort, form, guided=guided) == expected


@pytest.mark.parametrize(("form", "effort"), [(PLAIN, "low"), (R1, "high")])
def test_an_effort_that_the_template_cannot_express(form: Any, effort: str) -> None:
    with pytest.raises(UnsupportedParameter) as caught:
        read_variables({}, effort, form, guided=False)
    assert caught.value.param == "reasoning_effort"


@pytest.mark.parametrize(
    ("variables", "effort", "wanted"),
    [
        ({}, None, False),
        ({"enable_thinking": False}, None, False),
        ({"enable_thinking": True}, None, True),
        ({"enable_thinking": True}, "none", True),  # which the request sets besides
        ({"enable_thinking": False}, "high", False),
        ({"reasoning_effort": "high"}, "high", True),
        ({"reasoning_effort": "none"}, "none", False),
    ],
)
def test_whether_a_request_turns_reasoning_on(
    variables: dict[str, Any], effort: str | None, wanted: bool
) -> None:
    assert wants_reasoning(variables, effort) is wanted
