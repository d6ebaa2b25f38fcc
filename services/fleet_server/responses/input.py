"""Converts the items of OpenAI's responses to the messages of the engines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fleet_contract.errors import BadRequest, UnsupportedParameter
from fleet_contract.spec import ModelSpec
from fleet_server.chat.messages import ROLES, check_number, content_of
from fleet_server.chat.parts import INSTEAD, ImageUrl, refused_part
from fleet_server.chat.tool_messages import invalid, name_results, non_empty, read_arguments
from fleet_server.generation.namespaces import full_name
from fleet_server.protocols import Message

TEXTS = ("input_text", "output_text")


class InputReader:
    """Reads one input. `images` are those of the messages, in order."""

    def __init__(self, spec: ModelSpec) -> None:
        self.images: list[ImageUrl] = []
        self._spec = spec
        self._messages: list[Message] = []
        self._pictures: list[dict[str, Any]] = []
        """Images in the results of calls before this item."""
        self._thoughts: list[str] = []
        """Reasoning in front of the next message or call of the model."""

    def read(self, value: Any) -> list[Message]:
        """Messages for the engine. Raises BadRequest whose `param` names the place."""
        if isinstance(value, str):
            value = [{"role": "user", "content": value}]
        if not isinstance(value, list) or not value:
            raise BadRequest(
                "'input' must be a string or a list of items.", param="input", code="invalid_value"
            )
        for index, item in enumerate(value):
            self._add(item, f"input[{index}]")
        self._show_images()
        name_results(self._messages)
        check_number(self._messages, "input")
        if not any(message["content"] or message.get("tool_calls") for message in self._messages):
            raise BadRequest("The input is empty.", param="input", code="empty_input")
        most = self._spec.limits.max_images
        if len(self.images) > most:
            raise BadRequest(
                f"The input contains {len(self.images)} images; at most {most} are accepted.",
                param="input",
            )
        return self._messages

    def _add(self, item: Any, place: str) -> None:
        """Add an item. Calls that follow each other, or a message of the model, belong to one turn,
        and so does the reasoning before them."""
        if not isinstance(item, dict):
            raise invalid(place, "must be an object")
        kind = item.get("type", "message")
        if kind != "function_call_output":
            self._show_images()
        match kind:
            case "message":
                self._messages.append(self._message(item, place))
            case "function_call":
                call = _call(item, place)
                if not self._messages or self._messages[-1]["role"] != "assistant":
                    self._messages.append({"role": "assistant", "content": ""})
                self._messages[-1].setdefault("tool_calls", []).append(call)
            case "function_call_output":
                self._result(item, place)
            case "reasoning":
                self._thoughts.extend(_thoughts(item.get("content"), f"{place}.content"))
                return
            case _:
                raise UnsupportedParameter(
                    f"'{place}' is neither a message, nor a function call or its output: this "
                    f"server stores no items and has no tools of its own.",
                    param=f"{place}.type",
                )
        self._take_thoughts()

    def _result(self, item: dict[str, Any], place: str) -> None:
        """Add the result of a call; its images wait for the results that follow it."""
        call_id = non_empty(item.get("call_id"), f"{place}.call_id")
        output = item.get("output")
        content = "" if output == [] else self._content(output, f"{place}.output")
        if not isinstance(content, str):
            self._pictures += [part for part in content if part["type"] == "image"]
            content = "\n".join(part["text"] for part in content if part["type"] == "text")
        self._messages.append({"role": "tool", "tool_call_id": call_id, "content": content})

    def _show_images(self) -> None:
        """Add the images in results as a message of the user: messages of tools hold text only."""
        if self._pictures:
            self._messages.append({"role": "user", "content": self._pictures})
            self._pictures = []

    def _take_thoughts(self) -> None:
        """Give reasoning to the last message if it is the model's."""
        message = self._messages[-1]
        thoughts = [message.get("reasoning_content", ""), *self._thoughts]
        self._thoughts.clear()
        if message["role"] == "assistant" and any(thoughts):
            message["reasoning_content"] = "\n".join(filter(None, thoughts))

    def _message(self, item: dict[str, Any], place: str) -> Message:
        role = item.get("role")
        if not isinstance(role, str) or role == "tool" or role not in ROLES:
            known = ", ".join(role for role in ROLES if role != "tool")
            raise invalid(f"{place}.role", f"must be one of {known}")
        content = self._content(content_of(item), f"{place}.content")
        return {"role": ROLES[role], "content": content}

    def _content(self, content: Any, place: str) -> str | list[dict[str, Any]]:
        """The text of a content or, with images, its parts."""
        if isinstance(content, list) and any(map(_is_image, content)):
            return [self._part(part, f"{place}[{n}]") for n, part in enumerate(content)]
        return _joined(content, place, self._spec)

    def _part(self, part: Any, place: str) -> dict[str, Any]:
        if not _is_image(part):
            return {"type": "text", "text": _text(part, place, self._spec)}
        if not self._spec.vision:
            raise refused_part("input_image", place, self._spec)
        url = part.get("image_url")
        if url is None and part.get("file_id") is not None:
            raise UnsupportedParameter(
                "This server stores no files; send the image as 'image_url'.",
                param=f"{place}.file_id",
            )
        self.images.append(ImageUrl(non_empty(url, f"{place}.image_url"), f"{place}.image_url"))
        return {"type": "image"}


def _is_image(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "input_image"


def _joined(content: Any, place: str, spec: ModelSpec) -> str:
    if isinstance(content, list) and content:
        return "\n".join(_text(part, f"{place}[{n}]", spec) for n, part in enumerate(content))
    if not isinstance(content, str):
        raise invalid(place, "must be a string or a list of content parts")
    return content


def _text(part: Any, place: str, spec: ModelSpec) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    if isinstance(kind, str) and kind in INSTEAD:
        raise refused_part(kind, place, spec)
    if kind not in TEXTS:
        raise invalid(f"{place}.type", f"must be one of {', '.join(TEXTS)}")
    text = part.get("text")
    if not isinstance(text, str):
        raise invalid(f"{place}.text", "must be a string")
    return text


def _call(item: dict[str, Any], place: str) -> dict[str, Any]:
    name = non_empty(item.get("name"), f"{place}.name")
    namespace = item.get("namespace")
    if namespace is not None:
        namespace = non_empty(namespace, f"{place}.namespace")
    arguments = read_arguments(item.get("arguments"), f"{place}.arguments")
    return {
        "id": non_empty(item.get("call_id"), f"{place}.call_id"),
        "type": "function",
        "function": {"name": full_name(namespace, name), "arguments": arguments},
    }


def _thoughts(content: Any, place: str) -> Iterator[str]:
    """The texts of reasoning; encrypted reasoning and summaries have none."""
    if content is None:
        return
    if not isinstance(content, list):
        raise invalid(place, "must be a list of reasoning_text parts")
    for number, part in enumerate(content):
        where = f"{place}[{number}]"
        if not isinstance(part, dict) or part.get("type") != "reasoning_text":
            raise invalid(f"{where}.type", "must be reasoning_text")
        text = part.get("text")
        if not isinstance(text, str):
            raise invalid(f"{where}.text", "must be a string")
        yield text
