"""The playgrounds in a browser, with the models of a real fleet."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from support.console_page import RERANK, SPEECH, STOPPED, Console
from support.local_fleet import CHAT, EMBEDDING, Fleet

GARDEN = Path(__file__).parents[2] / "docs" / "samples" / "garden.ogg"
LONG = "Write a very long story about a ship that sails around the world."


def play(console: Console, model: str) -> Any:
    return console.open(f"play/{model.replace('/', '%2F')}")


def send(page: Any, text: str) -> None:
    page.get_by_label("Message").fill(text)
    page.get_by_role("button", name="Send").click()


def test_a_chat_streams_and_remembers(console: Console) -> None:
    page = play(console, CHAT)
    page.get_by_text("Parameters").click()
    page.get_by_label("Temperature").fill("0")
    page.get_by_label("System prompt").fill("Answer in one sentence.")
    message = page.get_by_label("Message")
    message.fill("What is the capital of France?")
    message.press("Enter")
    answer = page.locator("article.assistant").first
    answer.get_by_text("Paris").wait_for()
    answer.get_by_text(re.compile(r"first token .* tokens/s .* tokens")).wait_for()
    send(page, "And of Italy?")
    page.locator("article.assistant .figures").nth(1).wait_for()
    page.get_by_role("status").get_by_text("The answer is complete.").wait_for(state="attached")
    assert page.locator("article.user").count() == 2
    console.screenshot("chat-1440-light")
    page.get_by_role("button", name="Clear").click()
    assert page.locator("article").count() == 0


def test_a_stream_can_be_stopped_and_its_text_stays(console: Console, fleet: Fleet) -> None:
    page = play(console, CHAT)
    send(page, LONG)
    answer = page.locator("article.assistant")
    answer.locator("p.text", has_text=re.compile(".{40}", re.DOTALL)).wait_for()
    page.get_by_role("button", name="Stop").click()
    answer.get_by_text(re.compile("^stopped")).wait_for()
    assert len(answer.locator("p.text").inner_text()) > 40
    page.goto(f"{console.base_url}/#/requests")
    # The server stopped as well: the router counted a client that left.
    row = page.get_by_role("region", name="Last requests").get_by_role("row").nth(1)
    row.get_by_text("499", exact=True).wait_for()


def test_errors_are_shown_with_their_reason(console: Console) -> None:
    page = play(console, CHAT)
    page.get_by_text("Parameters").click()
    page.get_by_label("Temperature").fill("9")
    send(page, "Hi.")
    page.get_by_role("alert").get_by_text("temperature").wait_for()
    assert console.violations() == []
    page.get_by_label("Temperature").fill("0")
    page.get_by_role("button", name="Try again").click()
    page.locator("article.assistant .figures").get_by_text("tokens").wait_for()
    page.get_by_label("Tools (JSON)").fill("{")
    send(page, "Hi.")
    page.get_by_role("alert").get_by_text("not valid JSON").wait_for()
    page.locator(".chooser select").select_option(STOPPED)
    send(page, "Hi.")
    page.get_by_role("alert").get_by_text("is stopped").wait_for()


def test_calls_of_tools_are_shown_and_get_results(console: Console) -> None:
    page = play(console, CHAT)
    page.get_by_text("Parameters").click()
    page.get_by_label("Temperature").fill("0")
    page.get_by_label("Max tokens").fill("60")
    page.get_by_role("button", name="Insert an example").click()
    page.get_by_label("Tool choice").select_option("required")
    send(page, "What is the weather in Paris?")
    page.locator(".call").get_by_text("get_weather").first.wait_for()
    result = page.get_by_label("Result of get_weather").first
    result.wait_for()
    assert "city" in page.locator(".call pre").first.inner_text()
    page.get_by_label("Tool choice").select_option("none")
    for field in page.get_by_label("Result of get_weather").all():
        field.fill("Sunny, 25 degrees.")
    page.get_by_role("button", name="Send results").click()
    page.locator("article.assistant").nth(1).locator(".figures").get_by_text("tokens").wait_for()


def test_markup_in_messages_stays_text(console: Console) -> None:
    page = play(console, CHAT)
    page.get_by_text("Parameters").click()
    page.get_by_label("Max tokens").fill("8")
    send(page, "<img src=x onerror=alert(1)> Hi.")
    page.locator("article.user").get_by_text("<img src=x").wait_for()
    page.locator("article.assistant .figures").get_by_text("tokens").wait_for()
    assert page.locator("article img").count() == 0


def test_similar_texts_are_close_on_the_map(console: Console) -> None:
    page = play(console, EMBEDDING)
    page.get_by_role("button", name="Compare").click()
    cells = page.get_by_role("region", name="Similarities").locator("td[class]")
    cells.nth(8).wait_for()
    values = [float(cell.inner_text()) for cell in cells.all()]
    assert [values[at] for at in (0, 4, 8)] == [1.0, 1.0, 1.0]
    assert values[1] > values[2] + 0.2
    assert console.violations() == []
    console.screenshot("heat-1440-light")


def test_documents_are_ranked(console: Console) -> None:
    page = play(console, RERANK)
    page.get_by_label("Query").fill("w1 w2")
    page.get_by_label("Documents").fill("w3 w4\nw5\nw1 w2 w6")
    page.get_by_role("button", name="Rank").click()
    page.locator(".ranked li").nth(2).wait_for()
    scores = [float(each.inner_text()) for each in page.locator(".ranked .score").all()]
    assert scores == sorted(scores, reverse=True)
    assert console.violations() == []


def test_a_file_is_transcribed_with_the_time_of_each_word(console: Console) -> None:
    page = play(console, SPEECH)
    page.get_by_label("Recording").set_input_files(GARDEN)
    page.get_by_role("button", name="Transcribe").click()
    words = page.get_by_role("list", name="Words").get_by_role("button")
    words.nth(5).wait_for()
    text = " ".join(words.all_inner_texts())
    assert "children" in text
    assert "garden" in text
    assert console.violations() == []
    console.screenshot("speech-1440-light")
    words.nth(2).click()
    console.until("document.querySelector('audio').currentTime > 0")


def test_the_microphone_is_recorded(console: Console) -> None:
    page = play(console, SPEECH)
    page.get_by_role("button", name="Record", exact=True).click()
    page.get_by_role("button", name="End the recording").wait_for()
    page.wait_for_timeout(1500)
    page.get_by_role("button", name="End the recording").click()
    page.get_by_role("button", name="Transcribe").click()
    page.get_by_role("heading", name="Transcript").wait_for()
