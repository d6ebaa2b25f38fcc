"""Messages of a chat, and images as data URLs."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from fleet_cli.client.conversation import MAX_IMAGE_BYTES, Conversation, data_url

PNG = b"\x89PNG\r\n\x1a\nrest"


def test_the_body_has_the_history_and_what_was_given() -> None:
    chat = Conversation("m", system="Be brief.", max_tokens=5)
    chat.add_prompt("One?")
    chat.add_answer("1")
    chat.add_prompt("Two?")
    body = chat.body()
    assert (body["max_tokens"], body["stream"], "temperature" in body) == (5, True, False)
    assert [(message["role"], message["content"]) for message in body["messages"]] == [
        ("system", "Be brief."), ("user", "One?"), ("assistant", "1"), ("user", "Two?")
    ]  # fmt: skip
    chat.add_answer("")
    assert len(chat.messages) == 2
    chat.clear()
    assert [message["role"] for message in chat.body()["messages"]] == ["system"]


def test_images_belong_to_the_next_prompt_only() -> None:
    chat = Conversation("m", images=["data:1"])
    chat.add_prompt("What?")
    chat.add_prompt("And now?")
    first, second = chat.messages
    assert [part["type"] for part in first["content"]] == ["image_url", "text"]
    assert second["content"] == "And now?"


@pytest.mark.parametrize(
    ("content", "kind"),
    [(PNG, "png"), (b"\xff\xd8\xff\xe0", "jpeg"), (b"GIF89a", "gif"), (b"RIFF1234WEBPVP8", "webp")],
)
def test_the_type_of_an_image_is_that_of_its_content(
    tmp_path: Path, content: bytes, kind: str
) -> None:
    (tmp_path / "x.txt").write_bytes(content)
    head, _, encoded = data_url(tmp_path / "x.txt").partition(",")
    assert head == f"data:image/{kind};base64"
    assert base64.b64decode(encoded) == content


def test_files_that_are_no_images(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("RIFF, but text")
    with pytest.raises(ValueError, match="no PNG"):
        data_url(tmp_path / "text")
    with pytest.raises(ValueError, match="not a file"):
        data_url(Path("/dev/zero"))
    with (tmp_path / "large").open("wb") as file:
        file.truncate(MAX_IMAGE_BYTES + 1)
    with pytest.raises(ValueError, match="more than 20 MiB"):
        data_url(tmp_path / "large")
    with pytest.raises(FileNotFoundError):
        data_url(tmp_path / "none")
