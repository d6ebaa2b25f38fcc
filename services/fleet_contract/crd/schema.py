"""A structural schema (apiextensions.k8s.io/v1) generated from a pydantic class.

Kubernetes reads a subset of OpenAPI 3.0. What that subset cannot express is an error here, so that
no field is silently unchecked on the cluster. Rules:
kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions
(specifying a structural schema).

Defaults are written only inside list items, which are taken whole. Elsewhere the API server would
write a default into the resource, where it would override catalog and profile for a field the
author left out; there the description names the default instead.
"""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel

Schema = dict[str, Any]


class CrdError(ValueError):
    """A field that a custom resource definition cannot express; the message names it."""


COPIED = ("type", "pattern", "enum", "minLength", "maxLength", "minimum", "maximum", "minItems",
          "maxItems", "format")  # fmt: skip
DROPPED = frozenset({"title", "description", "default", "$defs", "$ref", "properties", "items",
                     "required", "additionalProperties", "anyOf", "allOf", "exclusiveMinimum",
                     "exclusiveMaximum", "const"})  # fmt: skip
_NOT_RE2 = re.compile(r"\(\?(?:[=!>]|<[=!]|P=)|\\[1-9ZG]|[*+?}]\+")


def structural(model: type[BaseModel]) -> Schema:
    """The schema of `model`'s wire form. Raises CrdError."""
    root = model.model_json_schema(by_alias=True)
    return _Generator(root.get("$defs", {})).convert(root, model.__name__, in_list=False)


class _Generator:
    def __init__(self, definitions: dict[str, Schema]) -> None:
        self._definitions = definitions
        self._open: list[str] = []

    def convert(self, raw: Schema, path: str, in_list: bool) -> Schema:
        outer, raw = raw, self._plain(raw, path)
        reference = raw.get("$ref")
        if reference is not None:
            name = reference.rpartition("/")[2]
            if name in self._open:
                raise CrdError(
                    f"{path}: {name} is recursive, which a structural schema cannot express"
                )
            self._open.append(name)
            inner = self.convert(self._definitions[name], path, in_list)
            self._open.pop()
            return self._describe(inner, {**self._definitions[name], **outer}, in_list)
        self._check(raw, path)
        schema: Schema = {key: raw[key] for key in COPIED if key in raw}
        schema |= {key: value for key, value in raw.items() if key.startswith("x-kubernetes-")}
        if "const" in raw:
            schema["enum"] = [raw["const"]]
        for bound in ("Minimum", "Maximum"):
            if f"exclusive{bound}" in raw:
                schema[bound.lower()] = raw[f"exclusive{bound}"]
                schema[f"exclusive{bound}"] = True
        if schema.get("x-kubernetes-int-or-string"):  # must have no type of its own
            del schema["type"]
        elif "type" not in raw:
            return self._describe(schema, outer | raw, in_list)
        elif raw["type"] == "integer":
            schema.setdefault("format", "int64")
        elif raw["type"] == "array":
            schema["items"] = self.convert(raw["items"], f"{path}[]", in_list=True)
        elif raw["type"] == "object":
            schema |= self._object(raw, path, in_list)
        return self._describe(schema, outer | raw, in_list)

    def _plain(self, raw: Schema, path: str) -> Schema:
        """`raw` without the null of an optional field: on the cluster the field is omitted."""
        variants = raw.get("anyOf") or raw.get("allOf")
        if variants is None:
            return raw
        left = [variant for variant in variants if variant != {"type": "null"}]
        if len(left) != 1:
            raise CrdError(f"{path}: a field of several types cannot be expressed")
        return self._plain(left[0], path)

    def _check(self, raw: Schema, path: str) -> None:
        unknown = [key for key in raw if key not in COPIED and key not in DROPPED
                   and not key.startswith("x-kubernetes-")]  # fmt: skip
        if unknown:
            raise CrdError(f"{path}: {unknown[0]!r} cannot be expressed")
        if "type" not in raw and not raw.get("x-kubernetes-preserve-unknown-fields"):
            raise CrdError(f"{path}: has no type")
        if _NOT_RE2.search(raw.get("pattern", "")):
            raise CrdError(f"{path}: the pattern {raw['pattern']!r} is not RE2")
        if raw.get("type") == "array" and not isinstance(raw.get("items"), dict):
            raise CrdError(f"{path}: a list needs items of one type")

    def _object(self, raw: Schema, path: str, in_list: bool) -> Schema:
        extra = raw.get("additionalProperties")
        if "properties" in raw:
            properties = {
                name: self.convert(field, f"{path}.{name}", in_list)
                for name, field in raw["properties"].items()
            }
            required = {"required": list(raw["required"])} if raw.get("required") else {}
            return {"properties": properties, **required}
        if isinstance(extra, dict) and extra:
            values = self.convert(extra, f"{path}.*", in_list=True)
            return {"additionalProperties": values}
        if extra in (True, {}):
            return {"x-kubernetes-preserve-unknown-fields": True}
        raise CrdError(f"{path}: an object needs properties")

    def _describe(self, schema: Schema, raw: Schema, in_list: bool) -> Schema:
        text = " ".join(str(raw.get("description", "")).split())
        default = raw.get("default")
        if default is not None and in_list:
            schema["default"] = default
        elif default not in (None, ""):
            shown = str(default).lower() if isinstance(default, bool) else default
            text = f"{text} Default: {shown}."
        described = {"description": text} if text else {}
        return described | {key: value for key, value in schema.items() if key != "description"}
