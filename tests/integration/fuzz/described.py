"""The documents of the stand-ins and of the router, as schemathesis takes them, and what is checked
besides its own checks. Used by test_document.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterable, Iterator
from typing import Any

import jsonschema_rs
import orjson
import schemathesis
from hypothesis import strategies as st
from schemathesis.checks import load_all_checks
from schemathesis.transport.serialization import Binary

from fleet_contract.spec import ModelSpec
from fleet_router.status.openapi import document as router_document
from fleet_server.document import document as server_document
from integration.fuzz import bodies, wire

SHAPE = frozenset({
    "invalid_json", "missing", "invalid_value", "invalid_form", "invalid_content_type",
    "invalid_http",
})  # fmt: skip
"""Codes of refusals that a schema foretells."""
PASSED = ("Chat", "Completion", "Responses")
"""Bodies of which the router lets pass more than this project's own servers take."""
REFUSALS = frozenset({401, 403, 404, 413, 429})
ENDS = {
    "completions": (b"data: [DONE]",),
    "responses": (b"event: response.completed\n", b"event: response.incomplete\n"),
}
"""How the last event of a stream begins, by the last word of its path."""
SAME_EVERY_TIME = "FUZZ_EXAMPLES" not in os.environ
"""A person who wants more wants others too."""
CONFIG = schemathesis.Config.from_dict({"generation": {"deterministic": SAME_EVERY_TIME}})

load_all_checks()
# Most random bytes would be no sound.
schemathesis.openapi.format(
    "recording", st.sampled_from([Binary(bodies.recording()), Binary(b"noise")])
)


def schema_of(task: str | None, models: dict[str, str]) -> Any:
    """The document of the server of a task, of the router in front of all where it is None.
    `models` are the served models by task."""
    if task is None:
        said = router_document(guarded=False, with_metrics=True)
        # In front of this project's own servers, what their documents say of a chat holds.
        own = server_document(spec_of("chat", models), with_metrics=True)["components"]["schemas"]
        passed = {f"Passed{kind}": own.pop(f"{kind}Body") for kind in PASSED}
        said["components"]["schemas"] = own | said["components"]["schemas"] | passed
    else:
        said = server_document(spec_of(task, models), with_metrics=True)
    known = [*models.values()] if task is None else [models[task]]
    return schemathesis.openapi.from_dict(narrowed(said, known), config=CONFIG)


def spec_of(task: str, models: dict[str, str]) -> ModelSpec:
    """The spec of the stand-in of a task."""
    return ModelSpec.model_validate({"model": models[task], "task": task})


def prepare(case: Any) -> None:
    """Write 2.0 as 2: JSON Schema calls both whole numbers, and OpenAI's API refuses the first
    where it expects an integer, as the servers here do."""
    if repr(changed := whole(case.body)) != repr(case.body):
        case.body = changed


def whole(value: Any) -> Any:
    """The value with whole numbers written as such."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [whole(each) for each in value]
    return {key: whole(each) for key, each in value.items()} if isinstance(value, dict) else value


def narrowed(document: dict[str, Any], models: list[str]) -> dict[str, Any]:
    """The document for these models, or every random name would be a 404. Answers may hold no more
    than it says, so that a field nobody described is noticed; clients are told nothing of the kind,
    for later versions may say more."""
    document = copy.deepcopy(document)
    document["components"]["parameters"]["model_id"]["schema"] = {"enum": [*models, "nobody"]}
    schemas = document["components"]["schemas"]
    asked = {
        name
        for path in document["paths"].values()
        for operation in path.values()
        for name in _named(operation.get("requestBody"), schemas)
    }
    if "SpeechForm" in schemas:
        schemas["SpeechForm"]["properties"]["file"] = {"type": "string", "format": "recording"}
    for name, schema in schemas.items():
        if name in asked and "model" in schema.get("properties", {}):
            schema["properties"]["model"] = {"enum": [*models, "nobody"]}
            # Where several models take a body, it must name one; forms have no null.
            if len(models) > 1 and "okenize" in name:
                schema["required"] = [*schema["required"], "model"]
            elif name != "SpeechForm":
                schema["properties"]["model"]["enum"].append(None)
        elif schema.get("type") == "object" and name not in asked:
            schema["additionalProperties"] = False
    return document


def _named(part: Any, schemas: dict[str, Any]) -> Iterator[str]:
    """The schemas that a part of a document refers to, at any remove."""
    mark = "#/components/schemas/"
    seen: set[str] = set()
    todo = [part]
    while todo:
        text = json.dumps(todo.pop())
        names = {each.split('"')[0] for each in text.split(f'"{mark}')[1:]} - seen
        seen |= names
        todo += [schemas[name] for name in names]
    yield from seen


class Schemas:
    """What the servers' documents say of bodies of JSON."""

    def __init__(self, tasks: Iterable[str]) -> None:
        self._checks: dict[str, Any] = {}
        for task in tasks:
            said = server_document(spec_of(task, {task: task}), with_metrics=True)
            for path, item in said["paths"].items():
                content = item.get("post", {}).get("requestBody", {}).get("content", {})
                if schema := content.get("application/json", {}).get("schema"):
                    whole = schema | {"components": said["components"]}
                    self._checks[path] = jsonschema_rs.Draft202012Validator(whole)

    def agree(self, path: str, raw: bytes, status: int, answer: bytes) -> None:
        """What is called valid was not refused for its shape, and what is not was refused."""
        try:
            body = orjson.loads(raw)
        except orjson.JSONDecodeError:
            assert status == 400
            return
        if repr(whole(body)) != repr(body):
            return  # see `prepare`
        if not self._checks[path].is_valid(body):
            assert status in (400, 404, 413), (status, raw[:2000])
        elif status == 400:
            error = orjson.loads(answer)["error"]
            assert error["code"] not in SHAPE, (error, raw[:2000])


def is_taken(ctx: Any, response: Any, case: Any) -> None:
    """What the document calls valid is not refused for its shape."""
    if not case.meta.generation.mode.is_positive or response.status_code < 300:
        return
    if response.status_code == 400:
        error = response.json()["error"]
        assert error["code"] not in SHAPE, (error, str(case.body)[:1000])
    else:
        assert response.status_code in REFUSALS, response.status_code


def has_the_shape_of_errors(ctx: Any, response: Any, case: Any) -> None:
    """Every refusal, of whatever method and path."""
    if response.status_code >= 400:
        assert response.headers["content-type"] == ["application/json"]
        error = response.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert 0 < len(error["message"]) < 10_000


def ends_its_streams(ctx: Any, response: Any, case: Any) -> None:
    """A stream of text that began well ends with its mark, and none holds an error."""
    kind = response.headers.get("content-type", [""])[0]
    if response.status_code == 200 and kind.startswith("text/event-stream"):
        assert wire.told_error(response.content) is None
        last = response.content.removesuffix(b"\n\n").rpartition(b"\n\n")[2]
        assert last.startswith(ENDS.get(case.operation.path.rpartition("/")[2], b""))
