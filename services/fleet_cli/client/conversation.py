"""The messages of a chat, and images as data URLs."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MAX_IMAGE_BYTES = 20 * 1024 * 1024
FORMATS = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
}
"""How files begin. WebP, `RIFF....WEBP`, is checked apart."""


@dataclass(slots=True)
class Conversation:
    """`images` are data URLs that the next user message contains."""

    model: str
    system: str = ""
    temperature: float | None = None
    max_tokens: int | None = None
    messages: list[dict[str, Any]] = field(default_factory=list)
    images: list[str] = field(default_factory=list)

    def add_prompt(self, text: str) -> None:
        """Add a user message of `text` and the images."""
        content: Any = text
        if self.images:
            parts = [{"type": "image_url", "image_url": {"url": url}} for url in self.images]
            content = [*parts, {"type": "text", "text": text}]
            self.images = []
        self.messages.append({"role": "user", "content": content})

    def add_answer(self, text: str) -> None:
        """Add the answer to the last prompt; without a text, that prompt is removed."""
        if text:
            self.messages.append({"role": "assistant", "content": text})
        else:
            self.messages.pop()

    def clear(self) -> None:
        """Forget all messages and images, but not the system prompt."""
        self.messages.clear()
        self.images.clear()

    def body(self) -> dict[str, Any]:
        """The body of a streamed chat completion."""
        first = [{"role": "system", "content": self.system}] if self.system else []
        given = {"temperature": self.temperature, "max_tokens": self.max_tokens}
        return {
            "model": self.model,
            "messages": [*first, *self.messages],
            "stream": True,
            **{name: value for name, value in given.items() if value is not None},
        }


def data_url(path: Path) -> str:
    """The image in a file as a data URL. Raises ValueError and OSError."""
    if path.exists() and not path.is_file():
        raise ValueError("it is not a file")
    with path.open("rb") as file:
        content = file.read(MAX_IMAGE_BYTES + 1)
    if len(content) > MAX_IMAGE_BYTES:
        raise ValueError(f"it has more than {MAX_IMAGE_BYTES >> 20} MiB")
    kind = next((kind for start, kind in FORMATS.items() if content.startswith(start)), None)
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        kind = "image/webp"
    if kind is None:
        raise ValueError("it is no PNG, JPEG, GIF or WebP image")
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
