"""A document of a few operations, made as the apps make theirs."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, NotRequired

import schemathesis
from typing_extensions import TypedDict

from fleet_contract.api.base import JsonBody
from fleet_contract.api.message_events import MessageErrorBody
from fleet_web.openapi.document import build
from fleet_web.openapi.operation import COMMON_ERRORS, EVENTS, FORM, JSON, MediaType, Operation


class Asked(JsonBody):
    """A request."""

    name: str
    """Whose."""
    size: int | None = None


class Told(TypedDict):
    """A response."""

    name: str
    more: NotRequired[list[int]]


ASK = Operation(
    "/v1/ask-it", "post", "asking", "Ask.", description="At length.",
    body=MediaType(JSON, Asked),
    responses=(MediaType(JSON, Told), MediaType(EVENTS, Told, "[END]")),
    headers=("x-modelfleet-model",), errors=COMMON_ERRORS | {401, 429},
)  # fmt: skip
TELL = Operation(
    "/v1/{model_id}", "get", "telling", "Tell.", parameters=("model_id",), not_ready=Told
)


def built(**more: Any) -> dict[str, Any]:
    return build("A title", "A description.", [ASK, TELL], **more)


def test_it_is_valid_and_has_the_contents_of_the_operations() -> None:
    document = built()
    schemathesis.openapi.from_dict(document).validate()
    asked = document["paths"]["/v1/ask-it"]["post"]
    assert (asked["operationId"], asked["description"]) == ("post_v1_ask_it", "At length.")
    body = asked["requestBody"]["content"][JSON]["schema"]
    assert body == {"$ref": "#/components/schemas/Asked"}
    schema = document["components"]["schemas"]["Asked"]
    assert schema["required"] == ["name"]
    assert schema["properties"]["name"] == {"type": "string", "description": "Whose."}
    assert set(asked["responses"]) == {"200", "400", "401", "408", "429", "431", "500"}
    headers = asked["responses"]["200"]["headers"]
    assert {name for name, each in headers.items() if each["required"]} == {
        "x-request-id", "x-modelfleet-model",
    }  # fmt: skip
    assert "retry-after" in document["components"]["responses"]["Error429"]["headers"]
    assert "retry-after" not in document["components"]["responses"]["Error400"]["headers"]


def test_errors_have_the_shape_of_their_operation() -> None:
    document = build("A title", "", [ASK, replace(TELL, error=MessageErrorBody)])
    errors = document["components"]["responses"]
    told = document["paths"]["/v1/{model_id}"]["get"]["responses"]["400"]
    assert told == {"$ref": "#/components/responses/MessageError400"}
    shapes = [errors[name]["content"][JSON]["schema"] for name in ("Error400", "MessageError400")]
    assert shapes == [
        {"$ref": f"#/components/schemas/{name}"} for name in ("ErrorBody", "MessageErrorBody")
    ]


def test_a_failed_probe_has_its_own_schema() -> None:
    responses = built()["paths"]["/v1/{model_id}"]["get"]["responses"]
    content = responses["503"]["content"][JSON]
    assert content["schema"] == {"$ref": "#/components/schemas/Told"}
    assert "200" not in responses


def test_a_stream_is_described_by_its_events() -> None:
    content = built()["paths"]["/v1/ask-it"]["post"]["responses"]["200"]["content"]
    data, mark = content[EVENTS]["schema"]["properties"]["data"]["anyOf"]
    assert data["contentSchema"] == {"$ref": "#/components/schemas/Told"}
    assert mark == {"const": "[END]"}


def test_keys_are_required_where_a_401_is_possible() -> None:
    document = built(guarded=True)
    assert document["paths"]["/v1/ask-it"]["post"]["security"] == [{"bearer": []}, {"key": []}]
    assert "security" not in document["paths"]["/v1/{model_id}"]["get"]
    assert "securitySchemes" not in built()["components"]


def test_documents_do_not_share_what_they_hold() -> None:
    before, changed = json.dumps(built(guarded=True)), built(guarded=True)
    changed["components"]["parameters"]["model_id"]["name"] = "changed"
    changed["components"]["responses"]["Error400"]["headers"]["x-request-id"]["schema"].clear()
    changed["components"]["securitySchemes"]["key"].clear()
    assert json.dumps(built(guarded=True)) == before


def test_a_form_is_described_as_one() -> None:
    document = build("T", "D", [Operation("/f", "post", "t", "S", body=MediaType(FORM, Asked))])
    assert list(document["paths"]["/f"]["post"]["requestBody"]["content"]) == [FORM]
