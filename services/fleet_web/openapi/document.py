"""Builds and serves a document: OpenAPI 3.1 (spec.openapis.org/oas/v3.1.1) of operations."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Iterable
from functools import cache
from importlib.metadata import version
from typing import Any

import orjson
from fastapi import Response
from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from fleet_contract.names import HEADER_REQUEST_ID
from fleet_web.openapi import parts
from fleet_web.openapi.operation import EVENTS, MediaType, Operation, Shape
from fleet_web.openapi.parts import Json

REF = "#/components/schemas/{model}"


class _Untitled(GenerateJsonSchema):
    """Omits titles that only repeat a field's name."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def build(
    title: str, description: str, operations: Iterable[Operation], *, guarded: bool = False
) -> Json:
    """The document; with `guarded`, operations with a 401 among their errors require API keys."""
    listed = list(operations)
    writer = _Writer(listed, guarded=guarded)
    paths: Json = {}
    for operation in listed:
        paths.setdefault(operation.path, {})[operation.method] = writer.operation(operation)
    errors = {
        operation.error_name(status): parts.error(status, writer.schema(operation.error))
        for operation in listed
        for status in operation.errors
    }
    components: Json = {
        "schemas": writer.definitions,
        "responses": dict(sorted(errors.items())),
        "parameters": parts.PARAMETERS,
    }
    if guarded:
        components["securitySchemes"] = parts.SECURITY
    # A copy: parts are module constants that documents must not share.
    return copy.deepcopy(
        {
            "openapi": "3.1.0",
            "info": {"title": title, "description": description, "version": version("modelfleet")},
            "paths": paths,
            "components": components,
        }
    )


class DocumentEndpoint:
    """GET /openapi.json; `build` makes the document at the first request."""

    def __init__(self, build: Callable[[], Json]) -> None:
        self._raw = cache(lambda: orjson.dumps(build()))

    async def get(self) -> Response:
        """The document."""
        # In a thread: building takes long enough to delay other requests.
        return Response(await asyncio.to_thread(self._raw), media_type="application/json")


class _Writer:
    """Writes operations; `definitions` are the schemas they refer to."""

    def __init__(self, operations: list[Operation], *, guarded: bool) -> None:
        self._guarded = guarded
        shapes = {id(shape): shape for each in operations for shape in _shapes(each)}
        found, rest = TypeAdapter.json_schemas(
            [(key, "validation", TypeAdapter(shape)) for key, shape in shapes.items()],
            schema_generator=_Untitled, ref_template=REF,
        )  # fmt: skip
        self._found = {key: schema for (key, _), schema in found.items()}
        self.definitions: Json = rest.get("$defs", {})

    def schema(self, shape: Shape) -> Json:
        """The schema of one of the operations' shapes."""
        return self._found[id(shape)]

    def operation(self, operation: Operation) -> Json:
        """An Operation Object."""
        names = [*operation.parameters, HEADER_REQUEST_ID]
        written: Json = {
            "operationId": operation.name,
            "tags": [operation.tag],
            "summary": operation.summary,
            "parameters": [{"$ref": f"#/components/parameters/{name}"} for name in names],
            "responses": self._responses(operation),
        }
        if operation.description:
            written["description"] = operation.description
        if operation.body is not None:
            written["requestBody"] = {"required": True, "content": self._content(operation.body)}
        if self._guarded and 401 in operation.errors:
            written["security"] = [{name: []} for name in parts.SECURITY]
        return written

    def _responses(self, operation: Operation) -> Json:
        responses: Json = {
            str(status): {"$ref": f"#/components/responses/{operation.error_name(status)}"}
            for status in sorted(operation.errors)
        }
        always = {HEADER_REQUEST_ID: parts.header(HEADER_REQUEST_ID, always=True)}
        if operation.not_ready is not None:
            content = self._content(MediaType("application/json", operation.not_ready))
            responses["503"] = {"description": "Not ready.", "headers": always, "content": content}
        if operation.responses:
            named = {name: parts.header(name, always=True) for name in operation.headers}
            named |= {name: parts.header(name, always=False) for name in operation.some_headers}
            content = {}
            for each in operation.responses:
                content |= self._content(each)
            responses["200"] = {
                "description": "Success.", "headers": always | named, "content": content,
            }  # fmt: skip
        return dict(sorted(responses.items()))

    def _content(self, content: MediaType) -> Json:
        schema = self.schema(content.shape)
        if content.media_type == EVENTS:
            schema = parts.event(schema, content.terminator)
        return {content.media_type: {"schema": schema}}


def _shapes(operation: Operation) -> Iterable[Shape]:
    contents = (operation.body, *operation.responses)
    yield from (content.shape for content in contents if content is not None)
    yield operation.error
    if operation.not_ready is not None:
        yield operation.not_ready
