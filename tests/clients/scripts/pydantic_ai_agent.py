"""pydantic-ai: an agent with an output type, by a tool and by a schema."""

from __future__ import annotations

import os
from typing import Literal

from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider


class Capital(BaseModel):
    country: Literal["France", "Spain"]
    city: Literal["Paris", "Madrid"]


provider = OpenAIProvider(base_url=os.environ["BASE_URL"] + "/v1", api_key="none")
model = OpenAIChatModel("smollm2", provider=provider)
settings = {"temperature": 0.0, "max_tokens": 100}
for output in (Capital, NativeOutput(Capital)):
    agent = Agent(model, output_type=output, model_settings=settings)
    result = agent.run_sync("What is the capital of France?")
    assert isinstance(result.output, Capital), result
    assert result.usage.output_tokens > 0
