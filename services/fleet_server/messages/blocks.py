"""Converts the messages and content blocks of Anthropic's API to those of the engines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from fleet_contract.api.tools import MAX_CALLS
from fleet_contract.errors import BadRequest, TooLarge, UnsupportedParameter
from fleet_contract.spec import ModelSpec
from fleet_server.chat.messages import check_number, num_chars
from fleet_server.chat.parts import ImageUrl, refused_part
from fleet_server.chat.tool_messages import invalid, name_results, non_empty
from fleet_server.protocols import Message

Parts = list[dict[str, Any]]
Value = TypeVar("Value", str, bool)
TOOL_CHANGES = {"tool_addition": True, "tool_removal": False}
NAMES: dict[type[Any], str] = {str: "string", bool: "boolean"}


class MessageReader:
    """Reads one conversation. `images` are those of the messages, in order; `offered` has the names
    of tools that the messages add or remove, and whether the model gets them."""

    def __init__(self, spec: ModelSpec) -> None:
        self.images: list[ImageUrl] = []
        self.offered: dict[str, bool] = {}
        self._spec = spec
        self._messages: list[Message] = []

    def read(self, raw: Sequence[Any], system: Any) -> list[Message]:
        """The messages, with the system message first. Raises BadRequest with `param`."""
        if system not in (None, "", []):
            self._add("system", self._parts(system, "system", images=False))
        for index, message in enumerate(raw):
            self._message(message, f"messages[{index}]")
        name_results(self._messages)
        check_number(self._messages, "messages")
        self._check_size()
        return self._messages

    def _check_size(self) -> None:
        limits, number = self._spec.limits, num_chars(self._messages)
        if len(self.images) > limits.max_images:
            raise BadRequest(
                f"The messages contain {len(self.images)} images; at most {limits.max_images} are "
                f"accepted.",
                param="messages",
            )
        if number == 0 and not self.images:
            raise BadRequest("The messages are empty.", param="messages", code="empty_input")
        if number > limits.max_text_chars:
            raise TooLarge(
                f"The messages have {number} characters; at most {limits.max_text_chars} are "
                f"accepted.",
                param="messages",
            )

    def _message(self, message: Any, place: str) -> None:
        if not isinstance(message, dict):
            raise invalid(place, "must be an object")
        role, content = message.get("role"), message.get("content")
        if role not in ("user", "assistant", "system"):
            raise invalid(f"{place}.role", "must be user, assistant or system")
        place = f"{place}.content"
        if role == "system":
            if isinstance(content, list):
                content = [
                    block
                    for index, block in enumerate(content)
                    if not self._changes_tools(block, f"{place}[{index}]")
                ]
            self._add("system", self._parts(content, place, images=False))
            return
        if isinstance(content, str):
            content = [{"type": "text", "text": content}]
        if not isinstance(content, list):
            raise invalid(place, "must be a string or a list of content blocks")
        if role == "user":
            self._user(content, place)
        else:
            self._assistant(content, place)

    def _user(self, blocks: Sequence[Any], place: str) -> None:
        """Text and images become messages of the user, results of tools their own messages."""
        parts: Parts = []
        for index, block in enumerate(blocks):
            where = f"{place}[{index}]"
            if _kind(block, where) != "tool_result":
                parts.append(self._part(block, where))
                continue
            self._add("user", parts)
            parts = self._result(block, where)
        self._add("user", parts)

    def _result(self, block: dict[str, Any], place: str) -> Parts:
        """Add the message of a result. Returns its images: messages of tools hold text only.

        The message of an error starts with `Error:`, since chats have no other mark for it.
        """
        call_id = non_empty(block.get("tool_use_id"), f"{place}.tool_use_id")
        _optional(block, "is_error", bool, place)
        content = block.get("content")
        if isinstance(content, list):
            content = [
                self._referenced(each, f"{place}.content[{index}]")
                for index, each in enumerate(content)
            ]
        parts = [] if content in (None, []) else self._parts(content, f"{place}.content")
        content = "\n".join(part["text"] for part in parts if part["type"] == "text")
        if block.get("is_error"):
            content = f"Error: {content}"
        self._messages.append({"role": "tool", "tool_call_id": call_id, "content": content})
        return [part for part in parts if part["type"] == "image"]

    def _changes_tools(self, block: Any, place: str) -> bool:
        """Whether a block adds or removes a tool, which is noted."""
        kind = _kind(block, place)
        if kind not in TOOL_CHANGES:
            return False
        tool, place = block.get("tool"), f"{place}.tool"
        if (reference := _kind(tool, place)) != "tool_reference":
            raise _unsupported(reference, place, "tool_reference")
        self.offered[non_empty(tool.get("name"), f"{place}.name")] = TOOL_CHANGES[kind]
        return True

    def _referenced(self, block: Any, place: str) -> Any:
        """A reference to a tool as a text; any other block unchanged."""
        if _kind(block, place) != "tool_reference":
            return block
        name = non_empty(block.get("tool_name"), f"{place}.tool_name")
        self.offered[name] = True
        return {"type": "text", "text": f"The tool {name} is loaded."}

    def _assistant(self, blocks: Sequence[Any], place: str) -> None:
        texts: Parts = []
        thoughts: list[str] = []
        calls: list[dict[str, Any]] = []
        for index, block in enumerate(blocks):
            where = f"{place}[{index}]"
            match _kind(block, where):
                case "text":
                    texts.append(_text(block, where))
                case "thinking":
                    thoughts.append(_string(block.get("thinking"), f"{where}.thinking"))
                    _optional(block, "signature", str, where)
                case "redacted_thinking":
                    _string(block.get("data", ""), f"{where}.data")
                case "tool_use":
                    calls.append(_call(block, where))
                case kind:
                    raise _unsupported(kind, where, "text, thinking and tool_use")
        if len(calls) > MAX_CALLS:
            raise invalid(place, f"has {len(calls)} tool calls; at most {MAX_CALLS} are accepted")
        message = self._turn("assistant")
        _extend(message, texts)
        if calls:
            message.setdefault("tool_calls", []).extend(calls)
        before = message.get("reasoning_content", "")
        if thought := "\n".join(filter(None, [before, *thoughts])):
            message["reasoning_content"] = thought

    def _parts(self, content: Any, place: str, *, images: bool = True) -> Parts:
        if isinstance(content, str):
            return [{"type": "text", "text": content}]
        if not isinstance(content, list):
            raise invalid(place, "must be a string or a list of content blocks")
        found: Parts = []
        for index, block in enumerate(content):
            where = f"{place}[{index}]"
            if not images and _kind(block, where) != "text":
                raise invalid(f"{where}.type", "must be text")
            found.append(self._part(block, where))
        return found

    def _part(self, block: dict[str, Any], place: str) -> dict[str, Any]:
        match _kind(block, place):
            case "text":
                return _text(block, place)
            case "image":
                return self._image(block.get("source"), place)
            case "document":
                return _document(block, place, self._spec)
            case kind:
                raise _unsupported(kind, place, "text, image, document and tool_result")

    def _image(self, source: Any, place: str) -> dict[str, Any]:
        if not self._spec.vision:
            raise refused_part("image", place, self._spec)
        place = f"{place}.source"
        match _kind(source, place):
            case "base64":
                media_type = non_empty(source.get("media_type"), f"{place}.media_type")
                data = non_empty(source.get("data"), f"{place}.data")
                url = f"data:{media_type};base64,{data}"
            case "url":
                url = non_empty(source.get("url"), f"{place}.url")
            case kind:
                raise _unsupported(kind, place, "base64 and url")
        self.images.append(ImageUrl(url, place))
        return {"type": "image"}

    def _add(self, role: str, parts: Parts) -> None:
        """Add parts to the last message if it has this role, else as a new message."""
        if parts:
            _extend(self._turn(role), parts)

    def _turn(self, role: str) -> Message:
        """The last message if it has this role, else a new one."""
        if not self._messages or self._messages[-1]["role"] != role:
            self._messages.append({"role": role, "content": ""})
        return self._messages[-1]


def _extend(message: Message, parts: Parts) -> None:
    """Add parts to the content, which is a string unless there are images."""
    before = message["content"]
    known = before if isinstance(before, list) else [{"type": "text", "text": before}]
    parts = [*(known if before else []), *parts]
    if any(part["type"] != "text" for part in parts):
        message["content"] = parts
    else:
        message["content"] = "\n".join(part["text"] for part in parts)


def _kind(block: Any, place: str) -> str:
    if not isinstance(block, dict):
        raise invalid(place, "must be an object")
    return non_empty(block.get("type"), f"{place}.type")


def _text(block: dict[str, Any], place: str) -> dict[str, Any]:
    return {"type": "text", "text": _string(block.get("text"), f"{place}.text")}


def _string(value: Any, place: str) -> str:
    if not isinstance(value, str):
        raise invalid(place, "must be a string")
    return value


def _call(block: dict[str, Any], place: str) -> dict[str, Any]:
    arguments = block.get("input")
    if not isinstance(arguments, dict):
        raise invalid(f"{place}.input", "must be an object")
    name = non_empty(block.get("name"), f"{place}.name")
    return {
        "id": non_empty(block.get("id"), f"{place}.id"),
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }


def _document(block: dict[str, Any], place: str, spec: ModelSpec) -> dict[str, Any]:
    """A document of plain text, after its title and context."""
    source = block.get("source")
    if _kind(source, f"{place}.source") != "text":
        raise refused_part("document", place, spec)
    assert isinstance(source, dict)  # noqa: S101  (checked by _kind)
    if source.get("media_type") != "text/plain":
        raise invalid(f"{place}.source.media_type", "must be text/plain")
    before = [_optional(block, name, str, place) for name in ("title", "context")]
    text = _string(source.get("data"), f"{place}.source.data")
    return {"type": "text", "text": "\n".join((*filter(None, before), text))}


def _optional(block: dict[str, Any], name: str, kind: type[Value], place: str) -> Value | None:
    """The value of a field that may be null or missing. Raises BadRequest for another type."""
    value = block.get(name)
    if value is not None and not isinstance(value, kind):
        raise invalid(f"{place}.{name}", f"must be a {NAMES[kind]} or null")
    return value


def _unsupported(kind: str, place: str, known: str) -> UnsupportedParameter:
    return UnsupportedParameter(
        f"'{place}.type' is {kind[:64]!r}; supported are {known}.", param=f"{place}.type"
    )
