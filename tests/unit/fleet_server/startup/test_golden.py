"""Golden checks: every one is run, for chat and for embeddings."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from fleet_contract.spec import ModelSpec
from fleet_server.load_error import LoadError
from fleet_server.protocols import Delta, Step
from fleet_server.startup import golden
from support.scripted_chat import ScriptedChat


def spec(task: str, *checks: dict[str, Any]) -> ModelSpec:
    return ModelSpec.model_validate({"model": "m", "task": task, "golden": list(checks)})


def prompt(contains: str) -> dict[str, Any]:
    return {"prompt": "What is the capital of France?", "contains": contains}


class Directions:
    """Embeds a text as the direction of its first letter: `a` and `b` are at 60 degrees."""

    def tokenize(self, texts: list[str]) -> list[list[int]]:
        return [[ord(text[0])] for text in texts]

    def embed(self, batch: list[list[int]]) -> Any:
        vectors = {ord("a"): (1.0, 0.0), ord("b"): (0.5, 3**0.5 / 2)}
        return np.array([vectors[ids[0]] for ids in batch], dtype=np.float32)


CHAT_CASES = [
    ([prompt("Paris")], None),
    ([prompt("PARIS"), prompt("france")], None),
    ([prompt("Rome")], "Rome"),
    ([prompt("Paris"), prompt("Rome")], "Rome"),
    ([prompt("Paris"), prompt("France"), prompt("Rome")], "Rome"),
]


@pytest.mark.parametrize(("checks", "missing"), CHAT_CASES)
def test_each_reply_contains_its_text(checks: list[dict[str, Any]], missing: str | None) -> None:
    model = ScriptedChat("It is Paris, in France.")
    if missing is None:
        golden.check(spec("chat", *checks), model)
        assert len(model.asked) == len(checks)
        assert all(sampling.temperature == 0 for sampling in model.asked)
        return
    with pytest.raises(LoadError, match=missing) as caught:
        golden.check(spec("chat", *checks), model)
    assert "It is Paris" in str(caught.value)


def similar(*texts: str, least: float) -> dict[str, Any]:
    return {"similar": list(texts), "minCosine": least}


def test_each_pair_is_similar_enough() -> None:
    fine, wrong = similar("a", "b", least=0.49), similar("a", "b", least=0.51)
    golden.check(spec("embedding", fine, similar("a", "a", least=0.99)), Directions())
    for checks in ([wrong], [fine, wrong]):
        with pytest.raises(LoadError, match=r"0\.500"):
            golden.check(spec("embedding", *checks), Directions())


@pytest.mark.parametrize(
    ("task", "check"), [("chat", similar("a", "b", least=0.5)), ("embedding", prompt("x"))]
)
def test_a_check_of_another_task_is_an_error(task: str, check: dict[str, Any]) -> None:
    with pytest.raises(LoadError, match=task):
        golden.check(spec(task, check), ScriptedChat())


class Deltas(ScriptedChat):
    """Emits text instead of token ids."""

    def submit(self, prompt: Any, sampling: Any, emit: Any) -> Any:
        def as_text(step: Step) -> None:
            emit(Step((), step.finish, delta=Delta(self.decode(step.token_ids), 1)))

        return super().submit(prompt, sampling, as_text)


def test_replies_of_engines_that_emit_text_are_checked() -> None:
    golden.check(spec("chat", prompt("Paris")), Deltas("It is Paris, in France."))
    with pytest.raises(LoadError, match="It is Paris, in France"):
        golden.check(spec("chat", prompt("Rome")), Deltas("It is Paris, in France."))


GUIDED = frozenset({"tools", "response_format", "json_schema", "grammar"})
PARIS = {"name": "get_weather", "arguments": {"city": "Paris"}}
QWEN = "{{ tools }}{{ enable_thinking }}<tool_call></tool_call>"


def call(name: str = "get_weather", **arguments: Any) -> str:
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        (call(city="Paris"), True),
        ("Let me look.\n" + call(city="Paris", days=1), True),
        (call(city="Rome"), False),
        (call("other", city="Paris"), False),
        (call(city="Paris").replace("}", ""), False),
        ("It is warm in Paris.", False),
    ],
)
def test_the_model_makes_the_call(text: str, passes: bool) -> None:
    model = ScriptedChat(text, supports=GUIDED, chat_template=QWEN)
    checks = spec("chat", {"prompt": "The weather in Paris?", "toolCall": PARIS})
    if passes:
        golden.check(checks, model)
        ((_, arguments),) = model.prompts
        (given,) = arguments.tools
        assert given["function"]["parameters"]["properties"] == {"city": {"type": "string"}}
        assert arguments.variables == {"enable_thinking": False}
        return
    with pytest.raises(LoadError, match="no call of get_weather"):
        golden.check(checks, model)
    with pytest.raises(LoadError, match="does not support tools"):
        golden.check(checks, ScriptedChat(text))


def test_the_reply_follows_a_schema_to_its_end() -> None:
    check = {"prompt": "Who?", "matches": {"schema": {"type": "object"}}, "contains": "Anna"}
    model = ScriptedChat('{"name": "Anna"}', supports=GUIDED)
    golden.check(spec("chat", check), model)
    assert json.loads(model.asked[0].grammar.source) == {"type": "object"}
    for text, message in (('{"name": "An', "does not end"), ('{"a": 1}', "does not contain")):
        with pytest.raises(LoadError, match=message):
            golden.check(spec("chat", check), ScriptedChat(text, supports=GUIDED))
    bad = {"prompt": "Who?", "matches": {"schema": {"title": "refused"}}}
    for supports in (GUIDED, frozenset[str]()):
        with pytest.raises(LoadError, match="cannot be run"):
            golden.check(spec("chat", bad), ScriptedChat("{}", supports=supports))


PAGE = Path(__file__).parents[4] / "docs" / "golden-checks.md"
REPLIES = {"contains": "It is Paris.", "toolCall": call(city="Paris"),
           "matches": '{"author": "Goethe", "century": 19}'}  # fmt: skip


class Alike(Directions):
    """Embeds all texts as the same direction."""

    def embed(self, batch: list[list[int]]) -> Any:
        return np.array([(1.0, 0.0)] * len(batch), dtype=np.float32)


def test_the_examples_of_the_page() -> None:
    """Each check passes with the reply that its text promises, and fails with another one."""
    blocks = re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    chat, embedding = (ModelSpec.model_validate(yaml.safe_load(block)["spec"]) for block in blocks)
    for each, reply in zip(chat.golden, REPLIES.values(), strict=True):
        alone = chat.model_copy(update={"golden": [each]})
        golden.check(alone, ScriptedChat(reply, supports=GUIDED, chat_template=QWEN))
        with pytest.raises(LoadError):
            golden.check(alone, ScriptedChat("{}", supports=GUIDED, chat_template=QWEN))
    golden.check(embedding, Alike())
    table = PAGE.read_text().partition("```")[0]
    assert all(f"`{name}`" in table for name in (*REPLIES, "prompt", "similar", "minCosine"))
