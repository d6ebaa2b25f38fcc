"""Prompts with images, which llama.cpp's projector (mmproj) makes embeddings of.

POST /completion takes the text of such a prompt with a marker for each image, and the files of the
images; POST /v1/chat/completions/input_tokens counts their tokens. Source: tools/server and
tools/mtmd in github.com/ggml-org/llama.cpp.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fleet_contract.errors import BadRequest
from fleet_server.engines.chat_template import ChatTemplate, TemplateRefusal
from fleet_server.engines.llamacpp.server import EmbeddedServer, Refused
from fleet_server.engines.llamacpp.vocabulary import LlamaVocabulary
from fleet_server.engines.special_text import REPLACEMENT, SEAM
from fleet_server.engines.text_chat import Content, check_shown, text_of

ZERO_WIDTH_SPACE = "\u200b"
MARKER = "<__media__>"
"""Of versions that do not give another one in /props."""
MOST_PIXELS = 4 << 20
"""To which larger images are reduced: llama.cpp does it too, and projectors use at most about as
many."""
MOST_RATIO = 200
"""Of the sides of an image; the limit of Qwen-VL's image processor."""
PROBE = "modelfleet-probe"


@dataclass(frozen=True, slots=True)
class ImagePrompt:
    """A text with a marker for each of `images`, PNG files in base64; `num_tokens` of both.
    `token_ids` are those of the text."""

    text: str
    images: Sequence[str]
    num_tokens: int
    token_ids: Sequence[int] = ()

    def __len__(self) -> int:
        return self.num_tokens

    def wire(self) -> dict[str, Any]:
        """The field `prompt` of /completion."""
        return {"prompt_string": self.text, "multimodal_data": list(self.images)}


class ImageReader:
    """Puts images into prompts of a model with a projector. Thread-safe."""

    def __init__(
        self,
        server: EmbeddedServer,
        vocabulary: LlamaVocabulary,
        template: ChatTemplate,
        props: Mapping[str, Any],
    ) -> None:
        self._server = server
        self._vocabulary = vocabulary
        self.marker: str = props.get("media_marker", MARKER)
        """The text that represents an image."""
        self._takes_parts = takes_parts(template)
        self._begin: str = props["bos_token"]
        self._added = len(vocabulary.encode("", add_special=True))
        self._reference = encoded(_blank())
        self._base = self._count([self._reference])

    def content(self, content: Content) -> Content:
        """The content of a message with the marker as the text of images, as the template takes
        it."""
        if isinstance(content, str) or all(part["type"] == "text" for part in content):
            return text_of(content)
        parts = [
            part if part["type"] == "text" else {"type": "text", "text": self.marker}
            for part in content
        ]
        return parts if self._takes_parts else text_of(parts)

    def prompt(self, text: str, images: Sequence[Any]) -> ImagePrompt:
        """The prompt of a rendered text and its `PIL.Image.Image`s. Raises BadRequest."""
        # llama.cpp tokenises the whole text: an invisible character has to part special tokens.
        # It reads the text of a prompt with images until the first NUL.
        text = text.replace(SEAM, ZERO_WIDTH_SPACE).replace("\0", REPLACEMENT)
        if self._added and self._begin:
            text = text.removeprefix(self._begin)
        parts = [self._vocabulary.tokenisable(part) for part in text.split(self.marker)]
        check_shown(len(images), shown=len(parts) - 1)
        files = [encoded(image) for image in images]
        try:
            tokens = self._count([self._reference, *files]) - self._base
        except Refused as error:
            raise BadRequest(
                f"The model's projector refuses the images: {error}", param="messages"
            ) from error
        tokens += self._added
        ids = self._vocabulary.encode_parts(parts, add_special=False)
        return ImagePrompt(self.marker.join(parts), files, tokens + len(ids), ids)

    def _count(self, files: Sequence[str]) -> int:
        """Tokens of a message of these images, the template's included."""
        urls = [f"data:image/png;base64,{file}" for file in files]
        parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
        body = {"messages": [{"role": "user", "content": parts}]}
        found = self._server.post("/v1/chat/completions/input_tokens", body)
        return int(found["input_tokens"])


def takes_parts(template: ChatTemplate) -> bool:
    """Whether a template takes parts as the content of a message, and not only a text."""
    message = {"role": "user", "content": [{"type": "text", "text": PROBE}]}
    try:
        text = template.render([message])
    except TemplateRefusal:
        return False
    return PROBE in text and f"'{PROBE}'" not in text  # as Python shows the list


def encoded(image: Any) -> str:
    """A `PIL.Image.Image` as a PNG file in base64. Raises BadRequest."""
    width, height = image.size
    if max(width, height) > MOST_RATIO * min(width, height):
        raise BadRequest(
            f"An image has {width} x {height} pixels; a side may be at most {MOST_RATIO} times as "
            f"long as the other.",
            param="messages", code="invalid_image",
        )  # fmt: skip
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _blank() -> Any:
    from PIL import Image

    return Image.new("RGB", (64, 64))
