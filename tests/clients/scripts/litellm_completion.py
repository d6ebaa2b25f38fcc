"""LiteLLM as a client of both APIs."""

from __future__ import annotations

import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm

ASK = [{"role": "user", "content": "What is the capital of France?"}]
BASE = os.environ["BASE_URL"]
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"enum": ["Paris", "Madrid"]}},
                       "required": ["city"]},
    },
}  # fmt: skip
for model, base in (("openai/smollm2", f"{BASE}/v1"), ("anthropic/smollm2", BASE)):
    asked = {"model": model, "api_base": base, "api_key": "none", "temperature": 0}
    whole = litellm.completion(messages=ASK, max_tokens=40, **asked)
    assert "Paris" in whole.choices[0].message.content, whole
    parts = litellm.completion(messages=ASK, max_tokens=40, stream=True, **asked)
    assert "Paris" in "".join(part.choices[0].delta.content or "" for part in parts)
    called = litellm.completion(
        messages=ASK, max_tokens=64, tools=[TOOL], tool_choice="required", **asked
    )
    call, *_ = called.choices[0].message.tool_calls
    assert call.function.name == "weather"
