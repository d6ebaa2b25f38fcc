"""Generates charts/modelfleet/README.md: every value with its default and its comment.

`python -m support.chart_readme > charts/modelfleet/README.md`, with `tests` on PYTHONPATH, writes
the page. Comments stand above a value or at the end of its line.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "modelfleet"
README = CHART / "README.md"
HEAD = """\
# Modelfleet

{description}. Generated from Chart.yaml and values.yaml by `make chart`; do not edit.

```bash
helm install fleet charts/modelfleet -n fleet --create-namespace \\
  --set image.registry=registry.example.com/fleet
```

Needs Kubernetes {kubernetes} and Helm 3.14 or later.
[docs/operations.md](../../docs/operations.md) describes installation, upgrades, closed networks and
special clusters; [docs/settings.md](../../docs/settings.md) lists the settings of operator, router
and servers. `values.schema.json` rejects unknown values and settings.

Upgrade with `--reset-then-reuse-values`: `--reuse-values` leaves out values that are new.

Files with values for special clusters, for `-f`:

{presets}
"""


class Value(NamedTuple):
    """A leaf of values.yaml: `default` as JSON, `meaning` on one line."""

    path: str
    default: str
    meaning: str


class Section(NamedTuple):
    """A top-level mapping, or all top-level values that are none, with the name ""."""

    name: str
    meaning: str
    values: list[Value]


def page() -> str:
    """The whole page."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    files = sorted((CHART / "presets").glob("*.yaml"))
    presets = "\n".join(f"* `presets/{path.name}`: {_title(path)}" for path in files)
    head = HEAD.format(
        description=chart["description"],
        kubernetes=chart["kubeVersion"].removeprefix(">=").removesuffix("-0") + " or later",
        presets=presets,
    )
    return head + "".join(_rendered(one) for one in sections((CHART / "values.yaml").read_text()))


def sections(text: str) -> Iterator[Section]:
    """The sections of values.yaml, general values first."""
    lines, root = text.splitlines(), yaml.compose(text)
    assert isinstance(root, yaml.MappingNode)
    general, found = Section("", "", []), []
    for key, node in root.value:
        above = _above(lines, key.start_mark)
        if _is_leaf(node):
            general.values.append(_value(lines, key.value, key, node))
        else:
            found.append(Section(key.value, above, list(_leaves(lines, key.value, node))))
    yield general
    yield from found


def _leaves(lines: list[str], prefix: str, mapping: yaml.MappingNode) -> Iterator[Value]:
    for key, node in mapping.value:
        path = f"{prefix}.{key.value}"
        if _is_leaf(node):
            yield _value(lines, path, key, node)
            continue
        leaves = list(_leaves(lines, path, node))
        above = _above(lines, key.start_mark)
        first = leaves[0]
        yield first._replace(meaning=" ".join(filter(None, (above, first.meaning))))
        yield from leaves[1:]


def _is_leaf(node: yaml.Node) -> bool:
    return not isinstance(node, yaml.MappingNode) or bool(node.flow_style) or not node.value


def _value(lines: list[str], path: str, key: yaml.Node, node: yaml.Node) -> Value:
    default = json.dumps(_parsed(node), ensure_ascii=False)
    meaning = " ".join(filter(None, (_above(lines, key.start_mark), _behind(lines, node))))
    return Value(path, default, meaning)


def _parsed(node: yaml.Node) -> Any:
    return yaml.safe_load(yaml.serialize(node))


def _above(lines: list[str], mark: yaml.Mark) -> str:
    """The comment directly above a key, in its column."""
    found: list[str] = []
    for line in reversed(lines[: mark.line]):
        if not line.startswith(" " * mark.column + "# "):
            break
        found.insert(0, line.strip().removeprefix("# "))
    return " ".join(found)


def _behind(lines: list[str], node: yaml.Node) -> str:
    """The comment at the end of a value's line."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style:
        return ""
    rest = lines[node.end_mark.line][node.end_mark.column :]
    comment = rest.partition("# ")[2]
    return comment[:1].upper() + comment[1:]


def _title(path: Path) -> str:
    """The comment at the beginning of a file, up to its first colon or full stop."""
    line = path.read_text().splitlines()[0].removeprefix("# ").removesuffix(":")
    return line.partition(":")[0].removeprefix("Values for ")


def _rendered(section: Section) -> str:
    rows = "".join(
        f"| `{one.path}` | `{_cell(one.default)}` | {_cell(one.meaning)} |\n"
        for one in section.values
    )
    title = section.name or "General"
    meaning = f"{section.meaning}\n\n" if section.meaning else ""
    return f"\n## {title}\n\n{meaning}| value | default | meaning |\n|---|---|---|\n{rows}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(page())
