"""Names of GGUF files: models in one file or in several parts, and image projectors.

Parts are named `<name>-00001-of-0000N.gguf` (gguf-split of llama.cpp), projectors `mmproj-….gguf`.
"""

from __future__ import annotations

import re
from collections.abc import Collection

_PART = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<total>\d{5})\.gguf", re.IGNORECASE)
_PROJECTOR = re.compile(r"(?:^|[^a-z0-9])mmproj[^/]*\.gguf$", re.IGNORECASE)
PREFERRED = "f16"
"""Number format of a projector that is taken if there are several; others differ little."""


def models(names: Collection[str]) -> list[str]:
    """The GGUF files that are models, in order; of a model in parts the first, if all exist."""
    return sorted(
        name
        for name in names
        if name.endswith(".gguf") and not _PROJECTOR.search(name) and _is_first(name, names)
    )


def parts(name: str) -> list[str]:
    """All files of the model whose first, or only, file is `name`."""
    found = _PART.fullmatch(name)
    if found is None:
        return [name]
    total = int(found["total"])
    return [f"{found['stem']}-{number:05}-of-{found['total']}.gguf"
            for number in range(1, total + 1)]  # fmt: skip


def is_divided(name: str) -> bool:
    """Whether the model is in several files."""
    return _PART.fullmatch(name) is not None


def projector(names: Collection[str]) -> str | None:
    """The image projector to use."""
    found = sorted(name for name in names if _PROJECTOR.search(name))
    preferred = (name for name in found if re.search(rf"(?<!b){PREFERRED}", name, re.IGNORECASE))
    return next(preferred, found[0] if found else None)


def projector_beside(path: str, names: Collection[str]) -> str | None:
    """The image projector in the folder of the model at `path`, both among `names`."""
    folder = path.rpartition("/")[0]
    return projector([name for name in names if name.rpartition("/")[0] == folder])


def _is_first(name: str, names: Collection[str]) -> bool:
    found = _PART.fullmatch(name)
    return found is None or (int(found["number"]) == 1 and set(parts(name)) <= set(names))
