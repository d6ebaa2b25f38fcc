"""Packages the chart for publication, with the address of its source code.

`python -m harness.chart_package [URL]`, with `tests/cluster` and `tests` on PYTHONPATH, writes the
archive into build/. The address is that of whoever publishes the chart, so it is not in the tree.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from harness.helm import CHART, Helm
from harness.paths import REPOSITORY


def package(helm: Helm, folder: Path, source: str = "") -> Path:
    """Write the archive into `folder`, with `sources` if `source` is an https URL."""
    if source and urlsplit(source)[:1] != ("https",):
        raise ValueError(f"{source!r} is not an https URL")
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(shutil.copytree(CHART, Path(scratch, CHART.name)))
        if source:
            with (copy / "Chart.yaml").open("a") as described:
                described.write(f"sources:\n  - {source}\n")
        saved = helm("package", str(copy), "--destination", str(folder))
    return Path(saved.rpartition(": ")[2].strip())


def main() -> None:
    """Write the archive into build/ and print its path."""
    folder = REPOSITORY / "build"
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as home:
        print(package(Helm(Path(home)), folder, *sys.argv[1:2]))


if __name__ == "__main__":
    main()
