"""Selection of the route of a request."""

from __future__ import annotations

import pytest

from fleet_contract.errors import BadRequest, ModelNotFound, WrongTask
from fleet_contract.spec import ModelSpec, Task
from fleet_router.routing.paths import PATHS, BodyKind
from fleet_router.routing.select import MAX_NAMES, join_names, select_route
from fleet_router.routing.table import Route, RouteTable

CHAT = PATHS["/v1/chat/completions"]
ANY = PATHS["/tokenize"]


def table(*specs: ModelSpec) -> RouteTable:
    return RouteTable.build(Route(spec) for spec in specs)


A = ModelSpec(model="a", aliases=["alias"])
B = ModelSpec(model="b")
E = ModelSpec(model="e", task=Task.EMBEDDING)


def test_by_id_and_alias() -> None:
    assert select_route(table(A, B), CHAT, "alias").model == "a"
    assert select_route(table(A, E), ANY, "e").model == "e"


def test_the_only_one_of_the_task_needs_no_name() -> None:
    assert select_route(table(A, E), CHAT, None).model == "a"
    assert select_route(table(E), ANY, None).model == "e"


@pytest.mark.parametrize(
    ("specs", "message"), [((A, B), "choose one of 'a', 'b'"), ((E,), "no model supports /v1/chat")]
)
def test_without_a_model_the_error_names_the_candidates(
    specs: tuple[ModelSpec, ...], message: str
) -> None:
    with pytest.raises(BadRequest, match=message):
        select_route(table(*specs), CHAT, None)


def test_the_wrong_task_names_the_right_path() -> None:
    with pytest.raises(WrongTask, match="use /v1/embeddings"):
        select_route(table(A, E), CHAT, "e")


def test_the_error_for_an_unknown_model_is_short() -> None:
    with pytest.raises(ModelNotFound) as caught:
        select_route(table(A), CHAT, "x" * 10_000)
    assert len(caught.value.message) < 300
    assert "'a'" in caught.value.message


def test_a_long_list_is_cut() -> None:
    names = [f"m{n}" for n in range(MAX_NAMES + 3)]
    assert join_names(names).endswith("and 3 more")
    assert join_names([]) == "no models"


def test_speech_paths_take_forms_and_others_json() -> None:
    for path, rule in PATHS.items():
        assert (rule.kind is BodyKind.MULTIPART) == path.startswith("/v1/audio/"), path


def test_models_that_the_caller_may_not_use_are_not_named() -> None:
    def only_b(model: str) -> bool:
        return model == "b"

    assert select_route(table(A, B), CHAT, None, only_b).model == "b"
    with pytest.raises(ModelNotFound, match="this fleet has 'b'") as unknown:
        select_route(table(A, B), CHAT, "c", only_b)
    assert unknown.value.param == "model"
    with pytest.raises(BadRequest, match="no model supports") as missing:
        select_route(table(A), CHAT, None, only_b)
    assert (missing.value.param, missing.value.code) == ("model", "missing")


def test_as_many_names_as_fit_are_listed() -> None:
    names = [f"m{n}" for n in range(MAX_NAMES)]
    assert MAX_NAMES == 20
    assert join_names(names) == ", ".join(repr(name) for name in names)
    assert join_names([*names, "x"]) == ", ".join(repr(name) for name in names) + " and 1 more"


def test_the_name_of_an_unknown_model_is_cut_at_200_characters() -> None:
    with pytest.raises(ModelNotFound) as caught:
        select_route(table(A), CHAT, "x" * 201)
    assert "'" + "x" * 200 + "'" in caught.value.message


def test_tokenizer_paths_are_for_any_task() -> None:
    assert {path for path, rule in PATHS.items() if rule.task is None} == {
        "/tokenize", "/detokenize",
    }  # fmt: skip
    assert select_route(table(A, E), ANY, "a").model == "a"
    with pytest.raises(BadRequest, match="choose one of 'a', 'e'"):
        select_route(table(A, E), ANY, None)


def test_the_id_of_an_adapter_leads_to_its_model() -> None:
    lora = {"name": "sql", "source": "file:///sql"}
    with_adapter = ModelSpec.model_validate({"model": "m", "aliases": ["x"], "adapters": [lora]})
    found = table(with_adapter, A)
    for name in ("m:sql", "x:sql"):
        assert select_route(found, CHAT, name).model == "m"
    for name in ("m:other", "a:sql", ":sql", "sql"):
        with pytest.raises(ModelNotFound):
            select_route(found, CHAT, name)
    literal = ModelSpec(model="m:sql")
    assert select_route(table(with_adapter, literal), CHAT, "m:sql").model == "m:sql"
