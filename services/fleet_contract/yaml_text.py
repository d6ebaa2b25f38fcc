"""YAML with limits: nesting, and in strict files no duplicate keys or aliases."""

from __future__ import annotations

from typing import Any

import yaml

MOST_NESTED = 100
"""Levels of lists and mappings in brackets, and of indented ones. PyYAML looks for a key in every
open bracket at each token, so that 10,000 take seconds, and ten times as many a hundred times as
long."""
TOO_DEEP = f"nested more than {MOST_NESTED} levels deep"


def load(text: str | bytes) -> Any:
    """The only document of `text`. Raises yaml.YAMLError, and RecursionError where it is nested too
    deeply."""
    return yaml.load(text, Loader=BoundedLoader)  # noqa: S506  (a SafeLoader)


def load_all(text: str, name: str) -> list[Any]:
    """The documents of `text`, strictly; empty ones as None. Raises ValueError with name, line and
    column."""
    try:
        return list(yaml.load_all(text, Loader=StrictLoader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f":{mark.line + 1}:{mark.column + 1}" if mark is not None else ""
        raise ValueError(f"{name}{where}: not valid YAML: {error.problem}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"{name}: not valid YAML: {error}") from error


def dump_all(documents: list[dict[str, Any]]) -> str:
    """`documents` as YAML in block style, keys in insertion order."""
    text: str = yaml.safe_dump_all(
        documents, sort_keys=False, allow_unicode=True, width=100, default_flow_style=False
    )
    return text


class BoundedLoader(yaml.SafeLoader):
    """A SafeLoader that raises RecursionError for more than MOST_NESTED levels."""

    def fetch_flow_collection_start(self, kind: Any) -> None:
        if self.flow_level >= MOST_NESTED:
            raise RecursionError(TOO_DEEP)
        super().fetch_flow_collection_start(kind)

    def add_indent(self, column: int) -> bool:
        if len(self.indents) > MOST_NESTED:
            raise RecursionError(TOO_DEEP)
        return bool(super().add_indent(column))


class StrictLoader(BoundedLoader):
    """A BoundedLoader that also refuses duplicate keys (PyYAML keeps the last one) and aliases (a
    short file can expand without limit through them)."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(
                None, None, "aliases (`*name`) are not supported", event.start_mark
            )
        node: yaml.Node | None = super().compose_node(parent, index)
        return node


def _mapping(loader: StrictLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str):
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {key!r} is not a string; quote it", key_node.start_mark
            )
        if key in seen:
            raise yaml.constructor.ConstructorError(
                None, None, f"duplicate key {key!r}", key_node.start_mark
            )
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
