"""The prompt cache of the running fleet's chat model."""

from __future__ import annotations

import openai

from support.local_fleet import CHAT, Fleet

TEXT = "green hills and quiet rivers " * 300


async def test_a_long_prompt_is_cached(client: openai.AsyncOpenAI, fleet: Fleet) -> None:
    server = fleet.server(CHAT)

    async def cpu_seconds() -> float:
        before = server.cpu_times()
        answer = await client.chat.completions.create(
            model=CHAT, messages=[{"role": "user", "content": TEXT}], max_tokens=1
        )
        assert answer.usage is not None
        assert answer.usage.prompt_tokens > 1000
        after = server.cpu_times()
        return float(after.user + after.system - before.user - before.system)

    cold = await cpu_seconds()
    assert await cpu_seconds() < cold / 3
