"""instructor: a model in the modes tools and JSON Schema."""

from __future__ import annotations

import os
from typing import Literal

import instructor
import openai
from pydantic import BaseModel


class Capital(BaseModel):
    country: Literal["France", "Spain"]
    city: Literal["Paris", "Madrid"]


plain = openai.OpenAI(base_url=os.environ["BASE_URL"] + "/v1", api_key="none")
for mode in (instructor.Mode.TOOLS, instructor.Mode.JSON_SCHEMA):
    client = instructor.from_openai(plain, mode=mode)
    found = client.chat.completions.create(
        model="smollm2", response_model=Capital, temperature=0, max_tokens=100, max_retries=1,
        messages=[{"role": "user", "content": "What is the capital of France?"}],
    )  # fmt: skip
    assert isinstance(found, Capital)
