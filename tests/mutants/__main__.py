"""`python -m mutants PATH...`: which small changes of these modules no test notices.

Works in a scratch copy; the working tree is only read.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from mutants.changes import Change, changes
from mutants.trial import Trial

ROOT = Path(__file__).parents[2]
SOURCES = (Path("operator"), Path("services"))
SLOWEST = 10
"""A change that makes the tests so many times slower is a timeout."""


def main() -> int:
    """The exit status: 1 if fewer changes than `--goal` percent were noticed."""
    given = _arguments()
    modules = [path for each in given.paths for path in _modules(each)]
    found = [change for path in modules for change in changes(ROOT, path)]
    random.Random(given.seed).shuffle(found)
    if given.again is not None:
        earlier = given.again.read_text(encoding="utf-8")
        found = [change for change in found if _shown(change) in earlier]
    tests = given.tests or sorted({_tests(path) for path in given.paths})
    print(f"{len(found)} changes of {len(modules)} modules, tests: {' '.join(tests)}", flush=True)
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="mutants-") as scratch:
        trial = Trial(ROOT, Path(scratch), tests)
        usual = trial.prepare(given.seconds)
        deadline = time.monotonic() + given.seconds
        for change in found[: given.sample or None]:
            if time.monotonic() > deadline:
                break
            outcome = trial.run(change.path, change.text, max(20.0, SLOWEST * usual))
            outcomes[outcome] += 1
            if outcome == "survived":
                print(f"\n{_shown(change)}", end="", flush=True)
    tried = outcomes.total()
    noticed = tried - outcomes["survived"]
    share = 100 * noticed / tried if tried else 0.0
    counts = ", ".join(f"{outcomes[each]} {each}" for each in ("killed", "timeout", "survived"))
    print(f"\n{tried} of {len(found)} tried: {counts}; {share:.1f}% noticed")
    return int(share < given.goal)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="mutants", description=__doc__)
    parser.add_argument("paths", nargs="+", type=Path, help="modules or folders of the repository")
    parser.add_argument("--tests", nargs="*", help="tests to run; by default those of the paths")
    parser.add_argument("--sample", type=int, default=0, help="most changes to try; 0 for all")
    parser.add_argument("--seconds", type=float, default=900.0, help="time for all of them")
    parser.add_argument("--seed", type=int, default=0, help="of the order in which they are tried")
    parser.add_argument(
        "--again", type=Path, help="output of an earlier run: try only what survived in it"
    )
    parser.add_argument("--goal", type=float, default=90.0, help="percent that must be noticed")
    return parser.parse_args()


def _modules(path: Path) -> list[Path]:
    whole = ROOT / path
    files = sorted(whole.rglob("*.py")) if whole.is_dir() else [whole]
    return [file.relative_to(ROOT) for file in files]


def _tests(path: Path) -> str:
    """The unit tests of a folder, or of the folder of a module."""
    folder = path if (ROOT / path).is_dir() else path.parent
    root = next(each for each in SOURCES if folder.is_relative_to(each))
    return str(Path("tests/unit") / folder.relative_to(root))


def _shown(change: Change) -> str:
    original = (ROOT / change.path).read_text(encoding="utf-8")
    title = f"survived: {change.path}:{change.line} {change.operator}"
    return f"{title}\n{change.diff(original)}\n"


if __name__ == "__main__":
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    sys.exit(main())
