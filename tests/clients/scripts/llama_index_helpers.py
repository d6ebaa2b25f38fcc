"""LlamaIndex: an asynchronous stream, and a call that must be made in a stream."""

# Without postponed annotations, which LlamaIndex does not resolve.
import asyncio
import os
from typing import Literal

from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike

llm = OpenAILike(
    api_base=os.environ["BASE_URL"] + "/v1", api_key="none", model="smollm2", temperature=0,
    max_tokens=64, context_window=8192, is_chat_model=True, is_function_calling_model=True,
    max_retries=0,
)  # fmt: skip
ASK = [ChatMessage(role="user", content="What is the capital of France?")]


def weather(city: Literal["Paris", "Madrid"]) -> str:
    """The weather in a city."""
    return f"Sunny in {city}"


async def streamed() -> str:
    text = ""
    async for chunk in await llm.astream_chat(ASK):
        text += chunk.delta or ""
    return text


assert "Paris" in asyncio.run(streamed())
tool = FunctionTool.from_defaults(weather)
*_, last = llm.stream_chat_with_tools([tool], user_msg="The weather in Paris?", tool_required=True)
(call, *_) = llm.get_tool_calls_from_response(last)
assert call.tool_name == "weather", call
assert call.tool_kwargs["city"] in ("Paris", "Madrid"), call
