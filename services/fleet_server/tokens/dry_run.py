"""A chat without its generation: all checks of the request, the prompt and its tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import Response

from fleet_contract.api.tokens import ChatPrompt
from fleet_server.chat.checked import check
from fleet_server.generation.run import check_bias, check_length, room_for
from fleet_server.protocols import ChatModel
from fleet_server.state import ServerState
from fleet_server.tokens.conversation import check_images, token_ids_of
from fleet_web.responses import json_response


def dry_run(server: ServerState, body: dict[str, Any], model: ChatModel) -> Callable[[], Response]:
    """The work for the chat in `body`. It and the work raise BadRequest with `param`."""
    checked = check(server, body, model)
    options, chat = checked.options, checked.chat
    check_images(checked.parsed.image_urls)
    check_length(checked.parsed.num_chars, model.context_length, "messages")
    check_bias(options, model)

    def work() -> Response:
        prompt = chat.prompt(model, [])
        room = room_for(server.spec, prompt, model.context_length, "messages")
        content: ChatPrompt = {
            "object": "chat.completion.prompt",
            "model": options.model(server.spec),
            "prompt": chat.text(model),
            "token_ids": token_ids_of(prompt),
            "prompt_tokens": prompt.num_tokens,
            "max_tokens": min(options.max_tokens, room),
            "max_model_len": model.context_length,
        }
        return json_response(content)

    return work
