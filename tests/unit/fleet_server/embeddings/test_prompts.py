"""`prompt_name`: the prompts of a model's files before the texts of a request."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from fleet_server.engines.encoder_files import recipe
from fleet_server.engines.encoder_files.recipe import Prompts
from fleet_server.load_error import LoadError

PROMPTS = {"query": "w1 w2 ", "document": "w3 ", "plain": ""}


def write(folder: Path, prompts: Any = PROMPTS, default: Any = None) -> None:
    content = {"prompts": prompts, "default_prompt_name": default, "similarity_fn_name": "cosine"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(content))


async def ask(client: httpx.AsyncClient, given: Any, **fields: Any) -> dict[str, Any]:
    answer = await client.post("/v1/embeddings", json={"model": "tiny", "input": given} | fields)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def refused(client: httpx.AsyncClient, **fields: Any) -> str:
    answer = await client.post("/v1/embeddings", json={"model": "tiny"} | fields)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["param"] == "prompt_name"
    return str(error["message"])


def vectors(body: dict[str, Any]) -> list[list[float]]:
    return [item["embedding"] for item in body["data"]]


async def test_a_prompt_is_put_before_each_text(serve: Any, tmp_path: Path) -> None:
    write(tmp_path)
    async with serve(cache={"embeddings": 0}) as client:
        plain = await ask(client, ["w1 w2 w7", "w1 w2 w8 w9"])
        prompted = await ask(client, ["w7", "w8 w9"], prompt_name="query")
        for one, other in zip(vectors(plain), vectors(prompted), strict=True):
            assert one == pytest.approx(other, abs=1e-6)
        assert prompted["usage"] == plain["usage"]
        assert vectors(await ask(client, "w7")) != vectors(
            await ask(client, "w7", prompt_name="query")
        )
        assert vectors(await ask(client, "w7", prompt_name="plain")) == vectors(
            await ask(client, "w7", prompt_name=None)
        )


async def test_texts_of_other_prompts_are_not_taken_from_the_cache(
    serve: Any, tmp_path: Path
) -> None:
    write(tmp_path)
    async with serve(cache={"embeddings": 10}) as client:
        names = (None, "query", "document")
        found = [vectors(await ask(client, "w7", prompt_name=name))[0] for name in names]
        assert found[0] != found[1] != found[2] != found[0]
        again = [vectors(await ask(client, "w7", prompt_name=name))[0] for name in names]
        assert again == found


async def test_an_unknown_name_lists_the_known_ones(serve: Any, tmp_path: Path) -> None:
    write(tmp_path)
    async with serve() as client:
        message = await refused(client, input="w1", prompt_name="passage")
        assert "'passage'; this model has 'query', 'document', 'plain'" in message
        assert "token ids" in await refused(client, input=[[2, 5, 3]], prompt_name="query")
        write(tmp_path, {f"p{number}": "" for number in range(25)})
    async with serve() as client:
        assert "'p19' and 5 more" in await refused(client, input="w1", prompt_name="x" * 5000)


async def test_a_model_without_prompts(serve: Any) -> None:
    async with serve() as client:
        assert "this model has no prompts" in await refused(client, input="w1", prompt_name="query")
        assert "this model has no prompts" in await refused(client, input="w1", prompt_name="")
        answer = await client.post(
            "/v1/embeddings", json={"model": "tiny", "input": "w1", "prompt_name": 1}
        )
        assert answer.json()["error"]["param"] == "prompt_name"


async def test_the_default_prompt(serve: Any, tmp_path: Path) -> None:
    """On both routes; another one can be named, and token ids have none."""
    write(tmp_path, default="document")
    async with serve(cache={"embeddings": 0}) as client:
        wanted = vectors(await ask(client, [[2, 7, 11, 3]]))[0]
        assert vectors(await ask(client, "w7"))[0] == pytest.approx(wanted, abs=1e-6)
        native = await client.post("/embedding", json={"content": "w7"})
        assert native.json()[0]["embedding"][0] == pytest.approx(wanted, abs=1e-6)
        assert vectors(await ask(client, "w3 w7", prompt_name="plain"))[0] == pytest.approx(
            wanted, abs=1e-6
        )


async def test_prompts_of_the_spec(serve: Any, tmp_path: Path) -> None:
    """For models whose files name none, and in place of those of the same name."""
    write(tmp_path)
    async with serve(prompts={"passage": "w3 ", "query": "w3 "}) as client:
        wanted = vectors(await ask(client, "w3 w7"))
        for name in ("passage", "query", "document"):
            assert vectors(await ask(client, "w7", prompt_name=name)) == wanted


@pytest.mark.parametrize(
    ("prompts", "default"), [(["query"], None), ({"query": 1}, None), ({"query": ""}, "other")]
)
def test_a_broken_file(tmp_path: Path, prompts: Any, default: Any) -> None:
    write(tmp_path, prompts, default)
    with pytest.raises(LoadError, match=r"config_sentence_transformers\.json"):
        Prompts.read(tmp_path)


def test_prompts_that_must_not_be_pooled_are_not_offered(tmp_path: Path) -> None:
    write(tmp_path, default="query")
    (tmp_path / "modules.json").write_text(json.dumps([
        {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"}
    ]))  # fmt: skip
    (tmp_path / "1_Pooling").mkdir()
    for included, expected in ((True, Prompts(PROMPTS, "query")), (False, Prompts())):
        (tmp_path / "1_Pooling" / "config.json").write_text(
            json.dumps({"pooling_mode_mean_tokens": True, "include_prompt": included})
        )
        assert recipe.read(tmp_path).prompts == expected
