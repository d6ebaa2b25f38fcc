"""OpenAPI documents of servers and router for schemathesis, and additional checks."""

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
from integration.fuzz import bodies, raw_http

SHAPE = frozenset({
    "invalid_json", "missing", "invalid_value", "invalid_form", "invalid_content_type",
    "invalid_http",
})  # fmt: skip
"""Codes of errors that a schema can predict."""
PASSED = ("Chat", "Completion", "Responses", "Messages")
"""Paths with bodies that the router accepts and this project's servers may reject."""
ERROR_STATUSES = frozenset({401, 403, 404, 413, 429})
ENDS = {
    "completions": (b"data: [DONE]",),
    "responses": (b"event: response.completed\n", b"event: response.incomplete\n"),
    "messages": (b"event: message_stop\n",),
}
"""Start of a stream's last event, by the last word of its path."""
SAME_EVERY_TIME = "FUZZ_EXAMPLES" not in os.environ
"""False if more examples are requested: then they are random."""
CONFIG = schemathesis.Config.from_dict({"generation": {"deterministic": SAME_EVERY_TIME}})

load_all_checks()
# Most random bytes are not audio.
schemathesis.openapi.format(
    "recording", st.sampled_from([Binary(bodies.recording()), Binary(b"noise")])
)


def schema_of(task: str | None, models: dict[str, str]) -> Any:
    """The document of the server of a task, or, with None, of the router in front of all servers.
    `models` are the served models by task.
    """
    if task is None:
        document = router_document(guarded=False, with_metrics=True)
        # This project's own servers accept exactly what their documents describe for chat.
        own = server_document(spec_of("chat", models), with_metrics=True)["components"]["schemas"]
        passed = {f"Passed{kind}": own.pop(f"{kind}Body") for kind in PASSED}
        document["components"]["schemas"] = own | document["components"]["schemas"] | passed
    else:
        document = server_document(spec_of(task, models), with_metrics=True)
    known = [*models.values()] if task is None else [models[task]]
    return schemathesis.openapi.from_dict(restricted(document, known), config=CONFIG)


def spec_of(task: str, models: dict[str, str]) -> ModelSpec:
    """The spec of the fake server of a task."""
    return ModelSpec.model_validate({"model": models[task], "task": task})


def prepare(case: Any) -> None:
    """Write 2.0 as 2: both are integers in JSON Schema, but OpenAI's API and these servers reject
    the first.
    """
    if repr(changed := whole(case.body)) != repr(case.body):
        case.body = changed


def whole(value: Any) -> Any:
    """The value with integers written as such."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [whole(each) for each in value]
    return {key: whole(each) for key, each in value.items()} if isinstance(value, dict) else value


def restricted(document: dict[str, Any], models: list[str]) -> dict[str, Any]:
    """The document restricted to these models, since random names would be 404.

    Responses may contain only described fields, so that undescribed ones are found; the published
    document allows more for later versions.
    """
    document = copy.deepcopy(document)
    document["components"]["parameters"]["model_id"]["schema"] = {"enum": [*models, "nobody"]}
    schemas = document["components"]["schemas"]
    body_schemas = {
        name
        for path in document["paths"].values()
        for operation in path.values()
        for name in _named(operation.get("requestBody"), schemas)
    }
    if "SpeechForm" in schemas:
        schemas["SpeechForm"]["properties"]["file"] = {"type": "string", "format": "recording"}
    for name, schema in schemas.items():
        if name in body_schemas and "model" in schema.get("properties", {}):
            schema["properties"]["model"] = {"enum": [*models, "nobody"]}
            # With several models a body must name one; forms have no null.
            if len(models) > 1 and "okenize" in name:
                schema["required"] = [*schema["required"], "model"]
            elif name != "SpeechForm":
                schema["properties"]["model"]["enum"].append(None)
        elif schema.get("type") == "object" and name not in body_schemas:
            schema["additionalProperties"] = False
    return document


def _named(part: Any, schemas: dict[str, Any]) -> Iterator[str]:
    """The schemas that a part of a document refers to, directly or indirectly."""
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
    """Schemas of JSON bodies from the documents of the servers; of a path that several tasks have,
    that of the first task."""

    def __init__(self, tasks: Iterable[str]) -> None:
        self._checks: dict[str, Any] = {}
        for task in tasks:
            document = server_document(spec_of(task, {task: task}), with_metrics=True)
            for path, item in document["paths"].items():
                content = item.get("post", {}).get("requestBody", {}).get("content", {})
                if schema := content.get("application/json", {}).get("schema"):
                    whole = schema | {"components": document["components"]}
                    self._checks.setdefault(path, jsonschema_rs.Draft202012Validator(whole))

    def agree(self, path: str, raw: bytes, status: int, answer: bytes) -> None:
        """A valid body is not rejected for its shape, and an invalid one is rejected."""
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


def valid_is_accepted(ctx: Any, response: Any, case: Any) -> None:
    """A body that is valid by the document is not rejected for its shape."""
    if not case.meta.generation.mode.is_positive or response.status_code < 300:
        return
    if response.status_code == 400:
        error = response.json()["error"]
        assert error["code"] not in SHAPE, (error, str(case.body)[:1000])
    else:
        assert response.status_code in ERROR_STATUSES, response.status_code


def errors_have_shape(ctx: Any, response: Any, case: Any) -> None:
    """Every error response has the shape of OpenAI's errors, or of Anthropic's."""
    if response.status_code >= 400:
        assert response.headers["content-type"] == ["application/json"]
        body = response.json()
        of_anthropic = case.operation.path.startswith("/v1/messages")
        assert set(body) == ({"type", "error"} if of_anthropic else {"error"})
        error = body["error"]
        assert set(error) - {"details"} == {"message", "type", "param", "code"}
        assert 0 < len(error["message"]) < 10_000


def streams_have_end(ctx: Any, response: Any, case: Any) -> None:
    """A stream of text ends with its end mark and contains no error."""
    kind = response.headers.get("content-type", [""])[0]
    if response.status_code == 200 and kind.startswith("text/event-stream"):
        assert raw_http.find_error(response.content) is None
        last = response.content.removesuffix(b"\n\n").rpartition(b"\n\n")[2]
        assert last.startswith(ENDS.get(case.operation.path.rpartition("/")[2], b""))
