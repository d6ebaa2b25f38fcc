"""The sandboxed program: reads PyTorch checkpoints, writes safetensors; imports nothing of ours.

    python -I unpickle.py SOURCE TARGET MEMORY_BYTES CPU_SECONDS

It needs torch, safetensors and NumPy only. Limits are set and write access outside TARGET is given
up before torch is imported, so that they hold for whatever a pickle may reach. One JSON object on
standard output reports the outcome: {"files": n, "landlock": true or false} or {"error": message}.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

WHOLE = "pytorch_model.bin"
INDEX = "pytorch_model.bin.index.json"
RENAMED = "model.safetensors"

# Numbers and layouts: docs.kernel.org/userspace-api/landlock.html.
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
REPORT_ABI, RULE_PATH_BENEATH = 1, 1
WRITES = 0b1111111110010
"""Write to, remove and make files and folders of every kind; reading and executing stay allowed."""
TRUNCATE, TRUNCATE_ABI = 1 << 14, 3
PR_SET_NO_NEW_PRIVS = 38


class Beneath(ctypes.Structure):
    """struct landlock_path_beneath_attr."""

    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def main() -> int:
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    limit(int(sys.argv[3]), int(sys.argv[4]))
    locked = only_writes_below(target)
    try:
        outcome: dict[str, Any] = {"files": convert(source, target), "landlock": locked}
    except Exception as error:
        # torch raises UnpicklingError, RuntimeError, KeyError and more for a damaged file.
        outcome = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(outcome), file=events, flush=True)
    return 0 if "files" in outcome else 1


def limit(memory: int, seconds: int) -> None:
    """Bound memory and CPU time; no core dumps."""
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def landlock_abi() -> int:
    """The kernel's version of Landlock; negative if it has none."""
    version: int = ctypes.CDLL(None).syscall(CREATE_RULESET, None, 0, REPORT_ABI)
    return version


def only_writes_below(folder: Path) -> bool:
    """Give up writing outside `folder`; False where the kernel has no Landlock."""
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    writes = WRITES | (TRUNCATE if landlock_abi() >= TRUNCATE_ABI else 0)
    handled = ctypes.c_uint64(writes)
    ruleset = libc.syscall(CREATE_RULESET, ctypes.byref(handled), ctypes.sizeof(handled), 0)
    if ruleset < 0:
        return False
    parent = os.open(folder, os.O_PATH | os.O_CLOEXEC)
    rule = Beneath(writes, parent)
    added = libc.syscall(ADD_RULE, ruleset, RULE_PATH_BENEATH, ctypes.byref(rule), 0)
    os.close(parent)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    restricted = libc.syscall(RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)
    return bool(added == 0 and restricted == 0)


def convert(source: Path, target: Path) -> int:
    """Convert every checkpoint file of `source`; their number. The index is written last."""
    if (source / WHOLE).is_file():
        convert_file(source / WHOLE, target / RENAMED)
        return 1
    shards: dict[str, str] = json.loads((source / INDEX).read_bytes())["weight_map"]
    where: dict[str, str] = {}
    files = list(dict.fromkeys(shards.values()))
    total = 0
    for number, name in enumerate(files, 1):
        if name != os.path.basename(name):
            raise ValueError(f"{INDEX} names {name!r}, which is not next to it")
        renamed = f"model-{number:05}-of-{len(files):05}.safetensors"
        sizes = convert_file(source / name, target / renamed)
        total += sum(sizes.values())
        where |= dict.fromkeys(sizes, renamed)
    if missing := sorted(shards.keys() - where.keys()):
        raise ValueError(f"{INDEX} names {missing[0]!r}, which its file does not hold")
    index = {"metadata": {"total_size": total}, "weight_map": where}
    (target / f"{RENAMED}.index.json").write_text(json.dumps(index, indent=1))
    return len(files)


def convert_file(source: Path, target: Path) -> dict[str, int]:
    """Write the tensors of one file, in their own formats; bytes by name."""
    import torch
    from safetensors.torch import save_file

    try:
        loaded = torch.load(source, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, ValueError):  # not a zip archive: written by PyTorch before 1.6
        loaded = torch.load(source, map_location="cpu", weights_only=True)
    if isinstance(loaded.get("state_dict"), dict):
        loaded = loaded["state_dict"]
    tensors, storages = {}, set()
    for name, tensor in loaded.items():
        if not isinstance(tensor, torch.Tensor):
            raise TypeError(f"{source.name} holds a {type(tensor).__name__} as {name!r}")
        plain = tensor.detach().contiguous()
        # Safetensors holds no tensor twice: those that share memory are copied.
        place = plain.untyped_storage().data_ptr()
        tensors[name] = plain.clone() if place in storages else plain
        storages.add(place)
    save_file(tensors, target, metadata={"format": "pt"})
    return {name: tensor.nbytes for name, tensor in tensors.items()}


if __name__ == "__main__":
    sys.exit(main())
