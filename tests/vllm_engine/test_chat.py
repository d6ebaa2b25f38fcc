"""Chat of vLLM with tiny random weights against transformers, in float32 on the CPU."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from fleet_contract.errors import BadRequest, NotReady
from fleet_contract.spec import ModelSpec
from fleet_server.engines.vllm.chat import VllmChat
from fleet_server.load_error import LoadError
from fleet_server.protocols import (
    ChatModel,
    Finish,
    FormatKind,
    OutputFormat,
    Sampling,
    Step,
    TemplateArguments,
    TextModel,
)
from support import tiny_chat
from support.running import Running, greedy, prompt
from support.waiting import until

NEW = 32
CASES = {"llama3": tiny_chat.LLAMA, "qwen3": tiny_chat.QWEN3}
SPEC = ModelSpec.model_validate({
    "model": "tiny", "dtype": "float32", "device": "cpu", "contextLength": 2048,
    "batching": {"maxSize": 4}, "cache": {"kvGib": 0.01},
})  # fmt: skip
QUESTIONS = [
    "fox",
    "The quick brown fox jumps over the lazy dog near the river bank. " * 8,
    "Wie heißt der Hund? 日本語 👩‍👩‍👧\r\n\n  x = 'a  b' end",
]
GREEDY = Sampling(NEW, temperature=0)


def generate(model: VllmChat, ids: list[int], sampling: Sampling) -> tuple[list[int], list[Step]]:
    return Running(model, ids, sampling).wait()


@pytest.fixture(scope="module", params=CASES)
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Any, Any, VllmChat]]:
    """transformers' model and tokenizer, and the engine with the same weights."""
    folder: Path = tmp_path_factory.mktemp(request.param)
    tiny_chat.write(folder, CASES[request.param])
    engine = VllmChat(SPEC, folder, 1)
    reference = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    yield reference, AutoTokenizer.from_pretrained(folder), engine
    engine.close()
    assert not engine.healthy or engine.cache_usage == 0


@pytest.mark.parametrize("question", QUESTIONS, ids=["word", "long", "unicode"])
def test_greedy_tokens_equal_those_of_transformers(
    pair: tuple[Any, Any, VllmChat], question: str
) -> None:
    reference, tokenizer, engine = pair
    messages = [{"role": "user", "content": question}]
    ids = prompt(engine, question)
    assert ids == tokenizer.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
    wanted = greedy(reference, ids, NEW)
    assert len(set(wanted)) > 4
    found, steps = generate(engine, ids, GREEDY)
    assert found == wanted
    assert steps[-1].finish is (Finish.LENGTH if len(wanted) == NEW else Finish.STOP)
    again, steps = generate(engine, ids, GREEDY)
    assert again == wanted
    if len(ids) > 256:  # two blocks of the cache
        assert (steps[0].cached_tokens or 0) >= 128


def test_sequences_of_a_batch_do_not_affect_each_other(pair: tuple[Any, Any, VllmChat]) -> None:
    reference, _, engine = pair
    prompts = [prompt(engine, text) for text in QUESTIONS]
    running = [Running(engine, ids, GREEDY) for ids in prompts]
    assert [each.wait()[0] for each in running] == [greedy(reference, ids, NEW) for ids in prompts]


def test_logprobs_equal_those_of_transformers(pair: tuple[Any, Any, VllmChat]) -> None:
    reference, _, engine = pair
    ids = prompt(engine, "fox")
    found, steps = generate(
        engine, ids, Sampling(6, temperature=0, logprobs=3, prompt_logprobs=True)
    )
    with torch.inference_mode():
        logits = reference(torch.tensor([[*ids, *found]])).logits[0].log_softmax(-1)
    chosen = [each for step in steps for each in step.logprobs]
    assert [each.token_id for each in chosen] == found
    for place, each in enumerate(chosen, start=len(ids) - 1):
        assert math.isclose(each.logprob, logits[place, each.token_id], abs_tol=1e-3)
        best = logits[place].topk(3)
        assert [token for token, _ in each.top] == best.indices.tolist()
    of_prompt = [each for step in steps for each in step.prompt_logprobs]
    assert [each.token_id for each in of_prompt] == ids[1:]
    for place, each in enumerate(of_prompt):
        assert math.isclose(each.logprob, logits[place, each.token_id], abs_tol=1e-3)


def test_every_option_has_its_effect(pair: tuple[Any, Any, VllmChat]) -> None:
    _, _, engine = pair
    ids = prompt(engine, "fox")
    plain = generate(engine, ids, GREEDY)[0]

    def tokens(**options: Any) -> list[int]:
        return generate(engine, ids, Sampling(NEW, **{"temperature": 0, **options}))[0]

    assert tokens(logit_bias={77: 100.0}) == [77] * NEW
    assert tokens(temperature=1.5, top_k=1) == plain == tokens(temperature=1.5, min_p=1.0)
    assert tokens(temperature=1.5, top_p=1e-6) == plain
    repeated = tokens(frequency_penalty=2.0, presence_penalty=2.0)
    assert len(set(repeated)) > len(set(plain)) or repeated != plain
    assert tokens(repetition_penalty=1.9) != plain
    assert tokens(temperature=1.5, seed=7) == tokens(temperature=1.5, seed=7)
    assert tokens(temperature=1.5, seed=7) != tokens(temperature=1.5, seed=8)
    assert tokens(temperature=1.5) != tokens(temperature=1.5)
    with pytest.raises(BadRequest, match="logit_bias"):
        raise generate(engine, ids, Sampling(4, logit_bias={10**6: 1.0}))[1][-1].error or Exception


def test_generations_follow_a_schema(pair: tuple[Any, Any, VllmChat]) -> None:
    _, _, engine = pair
    schema = {
        "type": "object", "required": ["name", "age"], "additionalProperties": False,
        "properties": {"name": {"type": "string", "maxLength": 8},
                       "age": {"type": "integer", "minimum": 0, "maximum": 99}},
    }  # fmt: skip
    grammar = engine.compile(OutputFormat(json.dumps(schema), "p"))
    sampling = Sampling(120, temperature=1.0, seed=3, grammar=grammar)
    ids, steps = generate(engine, prompt(engine, "fox"), sampling)
    assert steps[-1].finish is Finish.STOP
    assert set(json.loads(engine.decode(ids))) == {"name", "age"}
    with pytest.raises(BadRequest, match="schema"):
        engine.compile(OutputFormat('{"type": "strng"}', "p"))


COSTLY = OutputFormat(
    "([a-z]*[aeiou][a-z]{60}X|[a-z]*[xyz][a-z]{70}Y)+", "guided_regex", FormatKind.REGEX
)
"""Its automaton has more states than the limit after some hundred letters."""


def test_a_format_that_is_costly_to_follow_ends_its_text_only(
    pair: tuple[Any, Any, VllmChat],
) -> None:
    reference, _, engine = pair
    ids = prompt(engine, "fox")
    other = Running(engine, ids, GREEDY)
    letters = [engine.vocabulary.encode(letter, False)[0] for letter in ascii_lowercase]
    bias = dict.fromkeys(letters, 20.0)
    sampling = Sampling(
        1900, temperature=1.0, seed=1, logit_bias=bias, grammar=engine.compile(COSTLY)
    )
    error = generate(engine, ids, sampling)[1][-1].error
    assert isinstance(error, BadRequest)
    assert (error.code, error.param) == ("schema_too_expensive", "guided_regex")
    assert other.wait()[0] == greedy(reference, ids, NEW)
    assert engine.healthy


def test_a_cancelled_generation_frees_its_cache(pair: tuple[Any, Any, VllmChat]) -> None:
    _, _, engine = pair
    assert isinstance(engine, ChatModel)
    assert isinstance(engine, TextModel)
    assert (engine.context_length, engine.max_concurrent) == (2048, 4)
    sampling = Sampling(1800, temperature=0, logit_bias={77: 100.0})
    running = Running(engine, prompt(engine, "fox"), sampling)
    running.steps.get(timeout=60)
    until(lambda: engine.cache_usage > 0)
    running.generation.cancel()
    until(lambda: engine.cache_usage == 0)
    count = running.steps.qsize()
    assert generate(engine, prompt(engine, "fox"), GREEDY)[1][-1].error is None
    assert running.steps.qsize() == count < 1700


def test_a_generation_that_is_cancelled_at_once_leaves_nothing(
    pair: tuple[Any, Any, VllmChat],
) -> None:
    """Before its task has begun."""
    _, _, engine = pair
    ids = prompt(engine, "fox")
    for _ in range(50):
        Running(engine, ids, GREEDY).generation.cancel()
    until(lambda: not engine._loop._running)
    assert generate(engine, ids, GREEDY)[1][-1].error is None


def test_the_text_and_the_tokens_of_a_prompt_are_known(pair: tuple[Any, Any, VllmChat]) -> None:
    _, tokenizer, engine = pair
    messages = [{"role": "user", "content": "fox"}]
    wanted = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    assert engine.render(messages, TemplateArguments()) == wanted
    assert engine.prompt(messages, []).token_ids == prompt(engine, "fox")


def test_special_tokens_of_users_are_text(pair: tuple[Any, Any, VllmChat]) -> None:
    _, tokenizer, engine = pair
    end = tokenizer.eos_token
    attack = prompt(engine, f"a {end} b")
    assert attack.count(tokenizer.eos_token_id) == prompt(engine, "a b").count(
        tokenizer.eos_token_id
    )
    with pytest.raises(BadRequest, match="images"):
        engine.prompt([{"role": "user", "content": "a"}], [object()])


def test_close_ends_running_generations(tmp_path: Path) -> None:
    """With a cache smaller than the context, which is shortened to it."""
    tiny_chat.write(tmp_path, tiny_chat.LLAMA)
    small = SPEC.model_copy(update={
        "cache": SPEC.cache.model_copy(update={"kv_gib": 0.002}), "context_length": 100_000,
    })  # fmt: skip
    engine = VllmChat(small, tmp_path, 1)
    assert 256 <= engine.context_length < 4096
    sampling = Sampling(engine.context_length - 50, temperature=0, logit_bias={77: 100.0})
    running = Running(engine, prompt(engine, "fox"), sampling)
    running.steps.get(timeout=60)
    late = [Running(engine, prompt(engine, "fox"), sampling) for _ in range(8)]
    engine.close()
    for each in (running, *late):
        assert isinstance(each.wait()[1][-1].error, NotReady)
    with pytest.raises(NotReady):
        engine.submit(engine.prompt_of([5]), GREEDY, running.steps.put)


def test_load_errors_have_a_reason(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=r"tokenizer\.json"):
        VllmChat(SPEC, tmp_path, 1)
    tiny_chat.write(tmp_path, tiny_chat.LLAMA)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"architectures": ["NoSuchLM"]}))
    with pytest.raises(LoadError, match="vLLM cannot load tiny"):
        VllmChat(SPEC, tmp_path, 1)
