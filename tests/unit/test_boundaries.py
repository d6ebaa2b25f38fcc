"""Allowed imports, checked in the source and by imports in a fresh process."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from support.imports import ROOT, imported, loaded_by, modules, packages, tops

ALLOWED: dict[str, set[str]] = {
    "fleet_contract": set(),
    "fleet_web": {"fleet_contract"},
    "fleet_kube": set(),
    "fleet_console": set(),
    "fleet_weights": {"fleet_contract"},
    "fleet_prepare": {"fleet_contract", "fleet_weights"},
    "fleet_server": {"fleet_contract", "fleet_web", "fleet_weights", "fleet_prepare"},
    "fleet_router": {"fleet_console", "fleet_contract", "fleet_kube", "fleet_web"},
    "fleet_operator": {"fleet_contract", "fleet_kube", "fleet_web"},
    "fleet_local": {"fleet_contract", "fleet_web", "fleet_weights", "fleet_prepare"},
    "fleet_bench": {"fleet_contract", "fleet_weights"},
    "fleet_cli": {
        "fleet_contract", "fleet_kube", "fleet_local", "fleet_weights", "fleet_prepare"
    },
}  # fmt: skip
"""fleet_cli finds the other subcommands by name, when they are called; its doctor uses the parts of
`modelfleet up` and the client of the Kubernetes API."""

FLOORS: dict[str, tuple[frozenset[str], ...]] = {
    "fleet_contract": (
        frozenset(
            {"names", "server_protocol", "claims", "cpus", "yaml_text", "api", "installation"}
            | {"safe_text"}
        ),
        frozenset({"spec_base"}),
        frozenset({"pod", "blocks"}),
        frozenset({"errors", "spec_parts", "status", "policy"}),
        frozenset({"spec"}),
        frozenset(
            {"accelerators", "catalog", "crd", "endpoints", "engines", "error_shapes", "settings"}
        ),
        frozenset({"completion", "launch"}),
        frozenset({"manifests"}),
    ),
    "fleet_web": (
        frozenset({"openapi", "request_body"}),
        frozenset({"uvicorn_ext"}),
        frozenset({"serve"}),
    ),
    "fleet_weights": (
        frozenset({"errors"}),
        frozenset({"address", "plan", "assemble"}),
        frozenset({"transfer"}),
        frozenset({"hub"}),
        frozenset({"registry"}),
        frozenset({"store", "lock", "staging", "eviction", "buckets"}),
        frozenset({"fetch"}),
    ),
    "fleet_prepare": (
        frozenset({"chat", "whisper", "pickles", "placement"}),
        frozenset({"choose", "child_process"}),
        frozenset({"convert_once", "preflight"}),
        frozenset({"prepare"}),
    ),
    "fleet_server": (
        frozenset({"tracing"}),
        frozenset({"protocols", "load_error", "metrics", "admission", "budgets", "stages"}),
        frozenset({"engines", "batching", "images"}),
        frozenset({"state"}),
        frozenset({"generation", "audio", "embeddings", "rerank"}),
        frozenset({"chat", "completions"}),
        frozenset({"responses", "messages", "tokens"}),
        frozenset({"app"}),
        frozenset({"startup"}),
        frozenset({"command", "__main__"}),
    ),
    "fleet_local": (
        frozenset({"errors"}),
        frozenset({"output"}),
        frozenset({"processes"}),
        frozenset({"demand"}),
        frozenset({"fleet"}),
        frozenset({"run"}),
        frozenset({"command"}),
    ),
    "fleet_bench": (
        frozenset({"reference", "plan", "sample"}),
        frozenset({"audio", "chat", "embeddings", "load"}),
        frozenset({"compare", "report"}),
        frozenset({"command"}),
    ),
    "fleet_router": (
        frozenset({"load", "metrics", "routing"}),
        frozenset({"kube", "request"}),
        frozenset({"upstream"}),
        frozenset({"callers"}),
        frozenset({"proxy", "status"}),
        frozenset({"app", "settings", "tracing", "key_stores"}),
        frozenset({"launch", "command", "keys_command", "__main__"}),
    ),
    "fleet_operator": (
        frozenset(
            {"settings", "names", "kinds", "metrics", "timestamps", "quantity", "periodic"}
            | {"server_report", "condition_metrics", "pause", "features", "rollout_limit", "quota"}
            | {"shard", "namespace_shards", "vllm_images"}
        ),
        frozenset({"resources"}),
        frozenset({"decide"}),
        frozenset({"controller"}),
        frozenset({"run", "commands"}),
        frozenset({"command", "__main__"}),
    ),
}
"""Folders and top modules of a package, from below: each imports its own folder and lower floors,
and modules on a floor that are not in a folder may import each other. Every folder has a floor."""
WHOLE = frozenset({"fleet_contract", "fleet_router", "fleet_operator"})
"""Packages in which every top module has a floor too."""

HEAVY = {"torch", "torchvision", "transformers", "accelerate"}
ENGINES = HEAVY | {"openvino", "openvino_genai", "ctranslate2", "faster_whisper", "onnxruntime"}
WEB = {"fastapi", "starlette", "uvicorn"}


def breaches(package: str, source: Path, allowed: set[str]) -> list[str]:
    """`module imports other` for each import of a sibling that is not allowed."""
    siblings = set(ALLOWED) - {package} - allowed
    return [
        f"{module} imports {other}"
        for module, tree in modules(source)
        for other in sorted(tops(imported(tree, module)) & siblings)
    ]


def test_every_package_has_a_rule() -> None:
    assert set(packages()) <= set(ALLOWED)
    assert {"fleet_contract", "fleet_server", "fleet_router", "fleet_local"} <= set(packages())


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_a_package_imports_only_what_it_may(package: str) -> None:
    source = packages().get(package)
    if source is None:
        pytest.skip(f"there is no {package} here")
    assert breaches(package, source, ALLOWED[package]) == []


def children(source: Path) -> dict[str, dict[str, set[str]]]:
    """For each folder of a package: its modules and subfolders, and which of these each imports."""
    listed = list(modules(source))
    names = {name for name, _ in listed}
    found: dict[str, dict[str, set[str]]] = {}
    for module, tree in listed:
        # An import of a package's attribute is one of the package.
        targets = {
            name if name in names else name.rpartition(".")[0] for name in imported(tree, module)
        }
        parts = module.split(".")
        for depth in range(1, len(parts)):
            folder, own = ".".join(parts[:depth]), parts[depth]
            graph = found.setdefault(folder, {})
            others = {
                name.removeprefix(f"{folder}.").partition(".")[0]
                for name in targets
                if name.startswith(f"{folder}.")
            }
            graph.setdefault(own, set()).update(others - {own})
    return found


def circles(source: Path) -> list[str]:
    """Folders or modules side by side that import each other, directly or through others."""
    found = []
    for folder, graph in children(source).items():
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            found.append(f"{folder}: {' <- '.join(error.args[1])}")
    return found


@pytest.mark.parametrize("package", sorted(packages()))
def test_there_are_no_import_cycles(package: str) -> None:
    assert circles(packages()[package]) == []


def test_cycles_are_found_between_folders_at_any_depth(tmp_path: Path) -> None:
    package = tmp_path / "fleet_x"
    for folder in ("a", "b", "b/c", "b/d"):
        (package / folder).mkdir(parents=True)
    for folder in (package, *package.rglob("*/")):
        (folder / "__init__.py").touch()
    (package / "a" / "one.py").write_text("from fleet_x.b.c import two")
    (package / "b" / "c" / "two.py").write_text("import fleet_x.b.d.three")
    assert circles(package) == []
    (package / "b" / "d" / "three.py").write_text("def f():\n    from fleet_x.b.c.two import g")
    assert [line.partition(":")[0] for line in circles(package)] == ["fleet_x.b"]
    (package / "b" / "d" / "three.py").write_text("from fleet_x import a")
    assert [line.partition(":")[0] for line in circles(package)] == ["fleet_x"]


def upward(package: str, source: Path, floors: tuple[frozenset[str], ...]) -> list[str]:
    """`module imports other` for each import of a higher floor or of another folder beside it."""
    rank = {name: number for number, names in enumerate(floors) for name in names}
    folders = {path.name for path in source.iterdir() if (path / "__init__.py").is_file()}
    found = []
    for module, tree in modules(source):
        own = module.partition(".")[2].partition(".")[0]
        if own not in rank:
            continue
        for name in sorted(imported(tree, module)):
            top, _, rest = name.partition(".")
            other = rest.partition(".")[0]
            if top != package or other in ("", own) or other not in rank:
                continue
            level = rank[other] == rank[own] and {own, other} & folders
            if rank[other] > rank[own] or level:
                found.append(f"{module} imports {name}")
    return found


@pytest.mark.parametrize("package", sorted(FLOORS))
def test_folders_import_only_lower_floors(package: str) -> None:
    source = packages()[package]
    known = frozenset[str]().union(*FLOORS[package])
    entries = {path.stem for path in source.iterdir() if path.suffix == ".py"} - {"__init__"}
    folders = {path.name for path in source.iterdir() if (path / "__init__.py").is_file()}
    assert folders <= known
    if package in WHOLE:
        assert entries | folders == known
    assert upward(package, source, FLOORS[package]) == []


@pytest.mark.parametrize("package", sorted(packages()))
def test_no_folder_holds_more_than_twenty_modules(package: str) -> None:
    for folder in {path.parent for path in packages()[package].rglob("*.py")}:
        assert len([path for path in folder.glob("*.py") if path.stem != "__init__"]) <= 20, folder


def test_the_floors_see_an_import_upwards_and_one_on_the_level(tmp_path: Path) -> None:
    package = tmp_path / "fleet_x"
    for folder in ("low", "left", "right"):
        (package / folder).mkdir(parents=True)
        (package / folder / "__init__.py").touch()
    (package / "low" / "a.py").write_text("from fleet_x.left import b")
    (package / "left" / "b.py").write_text("from fleet_x.right.c import d\nimport fleet_x.low.a")
    floors = (frozenset({"low"}), frozenset({"left", "right"}))
    found = upward("fleet_x", package, floors)
    assert {line.partition(" ")[0] for line in found} == {"fleet_x.low.a", "fleet_x.left.b"}
    assert not any("fleet_x.low.a" in line.partition("imports")[2] for line in found)


def test_the_http_layer_of_the_server_imports_no_engine() -> None:
    found = [
        f"{module} imports {name}"
        for module, tree in modules(packages()["fleet_server"])
        if not module.startswith("fleet_server.engines")
        for name in sorted(tops(imported(tree, module)) & HEAVY)
    ]
    # load.py queries torch, once it is known to be installed, for the GPU of a Mac.
    assert found in ([], ["fleet_server.startup.load imports torch"])


def test_engines_import_no_web_framework() -> None:
    found = [
        f"{module} imports {name}"
        for module, tree in modules(packages()["fleet_server"])
        if module.startswith("fleet_server.engines")
        for name in sorted(tops(imported(tree, module)) & (WEB | {"fleet_web"}))
    ]
    assert found == []


def test_a_router_of_a_file_imports_no_kubernetes_client() -> None:
    code = "import fleet_router.command, fleet_router.launch, fleet_local.run"
    assert loaded_by(code) & {"kubernetes", "aiohttp", "fleet_kube"} == set()


def test_nothing_shadows_the_standard_librarys_operator() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists()
    code = (
        "import sys; sys.path.insert(0, ''); import operator, fleet_operator; operator.itemgetter"
    )
    assert "fleet_operator" in loaded_by(code)


LIGHT = {
    "up": "import fleet_local.run, fleet_local.command, fleet_local.processes.child",
    "catalog": "import fleet_cli.main, fleet_cli.catalog, fleet_contract.catalog as c; c.load()",
    "router": "import fleet_router.command, fleet_router.launch",
    "server's web app": "import fleet_server.startup.launch, fleet_server.command",
    "pull": "import fleet_cli.pull, fleet_weights.fetch",
    "help": "import fleet_cli.main; fleet_cli.main.help_text()",
}


@pytest.mark.parametrize("code", LIGHT.values(), ids=LIGHT.keys())
def test_no_engine_is_imported_before_it_is_needed(code: str) -> None:
    assert loaded_by(code) & ENGINES == set()


@pytest.mark.parametrize("package", ["fleet_contract", "fleet_local", "fleet_cli"])
def test_packages_without_a_server_import_no_web_framework(package: str) -> None:
    names = [module for module, _ in modules(packages()[package])]
    code = "\n".join(f"import {name}" for name in names if not name.endswith("__main__"))
    assert loaded_by(code) & WEB == set()


def test_local_mode_imports_no_part_it_starts() -> None:
    names = [module for module, _ in modules(packages()["fleet_local"])]
    loaded = loaded_by("\n".join(f"import {name}" for name in names))
    assert loaded & {"fleet_server", "fleet_router", "fleet_operator"} == set()


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("import fleet_router.app", "fleet_router"),
        ("from fleet_router import app", "fleet_router"),
        ("from fleet_router.app import create_app as x", "fleet_router"),
        ("def f():\n    import fleet_router", "fleet_router"),
        ("import importlib\nimportlib.import_module('fleet_router.app')", "fleet_router"),
        ("__import__('fleet_router')", "fleet_router"),
        ("import runpy\nrunpy.run_module('fleet_router')", "fleet_router"),
        ("if TYPE_CHECKING:\n    import fleet_router", "fleet_router"),
        ("from ..fleet_router import app", "fleet_router"),
        ("text = 'import fleet_router'  # import fleet_router", ""),
        ("from fleet_contract import names", ""),
    ],
)  # fmt: skip
def test_the_guard_sees_every_way_to_import(tmp_path: Path, line: str, names: str) -> None:
    package = tmp_path / "fleet_server"
    (package / "deep").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "module.py").write_text(line)
    expected = [f"fleet_server.module imports {names}"] if names else []
    assert breaches("fleet_server", package, ALLOWED["fleet_server"]) == expected


def test_the_guard_detects_loaded_modules() -> None:
    assert "fastapi" in loaded_by("import fleet_router.app")
    assert "numpy" not in loaded_by("import json")
