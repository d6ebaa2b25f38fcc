"""A fleet with a model of each engine, three of them for chat."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import httpx
import openai
import pytest

from support.local_fleet import CHAT, SPEECH

ENGINES = {
    CHAT: "torch", "tiny-openvino": "openvino", "tiny-llamacpp": "llamacpp", SPEECH: "ctranslate2",
}  # fmt: skip
pytestmark = pytest.mark.parametrize("chat_fleet", ["torch"], indirect=True)


@pytest.fixture(scope="session")
def fleet(chat_fleet: Any) -> Any:
    return chat_fleet


async def test_each_engine_serves_its_model(http: httpx.AsyncClient) -> None:
    models = (await http.get("/v1/models")).json()["data"]
    assert {each["id"]: each["engine"] for each in models} == ENGINES


@pytest.mark.parametrize("model", [name for name, each in ENGINES.items() if each != "ctranslate2"])
async def test_a_stream_has_the_text_of_the_whole_answer(
    client: openai.AsyncOpenAI, model: str
) -> None:
    fields: Any = {
        "model": model, "temperature": 0, "max_tokens": 12,
        "messages": [{"role": "user", "content": "The quick brown fox jumps"}],
    }  # fmt: skip
    whole = await client.chat.completions.create(**fields)
    assert whole.usage is not None
    assert 0 < whole.usage.completion_tokens <= 12
    chunks = [chunk async for chunk in await client.chat.completions.create(**fields, stream=True)]
    text = "".join(each.choices[0].delta.content or "" for each in chunks)
    assert text == whole.choices[0].message.content != ""


async def test_speech_is_transcribed(client: openai.AsyncOpenAI) -> None:
    folder = files("fleet_bench").joinpath("samples")
    sample = min((each for each in folder.iterdir() if each.name.endswith(".ogg")), key=str)
    found = await client.audio.transcriptions.create(
        model=SPEECH, file=(sample.name, sample.read_bytes())
    )
    assert len(found.text.split()) > 2
