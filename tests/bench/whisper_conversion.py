"""Cost of converting Whisper, and the speed of the result compared with published files.

Time and resident memory of a conversion of random weights with the full size of a model. Then
faster-whisper's files of tiny.en and base are converted to Hugging Face's layout and back: the
tokens must be equal and the time the same; both decode the same recording in turns.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import stack
import whisper_checkpoint
from faster_whisper import WhisperModel, decode_audio

from fleet_prepare import whisper
from fleet_prepare.conversion import Conversion

SAMPLE = Path(__file__).parents[2] / "docs" / "samples" / "garden.ogg"
PUBLISHED = ("Systran/faster-whisper-tiny.en", stack.SPEECH)
MEASURED = """
import sys
sys.modules["torch"] = sys.modules["transformers"] = None  # as in the image for CPUs
import re, time
from pathlib import Path
import ctranslate2, numpy, tokenizers
from fleet_prepare import whisper
from fleet_prepare.conversion import Conversion
def peak():  # of this program; getrusage would count the one that started it
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
before = peak()
began, cpu = time.perf_counter(), time.process_time()
whisper.convert(Conversion(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3],
                           lambda done, total: None, lambda: None, {}))
print(time.perf_counter() - began, time.process_time() - cpu, before, peak())
"""
"""Peaks in KiB, each of a separate process."""


def cost(size: str, quantization: str, tokenizer: dict[str, Any], scratch: Path) -> list[Any]:
    """One row: stored MB, written MB, seconds, CPU seconds, peak MB, of which libraries."""
    with tempfile.TemporaryDirectory(dir=scratch) as made:
        source, target = Path(made) / "source", Path(made) / "target"
        source.mkdir()
        target.mkdir()
        stored = whisper_checkpoint.write_random(source, size, tokenizer)
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, str(source), str(target), quantization],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        seconds, cpu, before, after = map(float, done.stdout.split())
        written = (target / "model.bin").stat().st_size
    sizes = [stored / 1e6, written / 1e6]
    memory = [after * 1024 / 1e6, before * 1024 / 1e6]
    return [size, quantization, *map(round, sizes), round(seconds, 1), round(cpu, 1),
            *map(round, memory)]  # fmt: skip


def decode(model: WhisperModel, audio: Any) -> tuple[list[int], float, float]:
    """The tokens of a recording, and the elapsed and CPU seconds."""
    began, cpu = time.perf_counter(), time.process_time()
    segments, _ = model.transcribe(audio, language="en", condition_on_previous_text=False)
    tokens = [token for segment in segments for token in segment.tokens]
    return tokens, time.perf_counter() - began, time.process_time() - cpu


def side_by_side(name: str, quantization: str, rounds: int, scratch: Path) -> list[Any]:
    """One row: median seconds with the published and the converted files, and of their ratios."""
    published = stack.weights(stack.spec_of(name))
    audio = decode_audio(str(SAMPLE))
    with tempfile.TemporaryDirectory(dir=scratch) as made:
        source, target = Path(made) / "source", Path(made) / "target"
        source.mkdir()
        target.mkdir()
        whisper_checkpoint.write_from_ctranslate2(published, source)
        whisper.convert(
            Conversion(source, target, quantization, lambda done, total: None, lambda: None, {})
        )
        compute = "int8" if quantization == "int8" else "float32"
        models = [
            WhisperModel(str(folder), device="cpu", compute_type=compute, local_files_only=True)
            for folder in (published, target)
        ]
        answers = [decode(model, audio)[0] for model in models]
        turns = []
        for turn in range(rounds):
            order = (0, 1) if turn % 2 else (1, 0)
            taken = {number: decode(models[number], audio)[1:] for number in order}
            turns.append((*taken[0], *taken[1]))
    medians = [statistics.median(turn[column] for turn in turns) for column in (0, 2)]
    ratios = [statistics.median(turn[2 + kind] / turn[kind] for turn in turns) for kind in (0, 1)]
    return [name, quantization, len(answers[0]), answers[0] == answers[1],
            *(round(number, 3) for number in medians + ratios)]  # fmt: skip


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__)
    parse.add_argument("--sizes", nargs="*", default=["base", "large-v3"])
    parse.add_argument("--formats", nargs="*", default=["int8", "float16"])
    parse.add_argument("--rounds", type=int, default=9)
    parse.add_argument("--scratch", type=Path, help="a folder with room for 5 GB")
    parse.add_argument("--json", action="store_true")
    options = parse.parse_args()
    folder = stack.weights(stack.spec_of(stack.SPEECH))
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    rows = [cost(size, kind, tokenizer, options.scratch)
            for size in options.sizes for kind in options.formats]  # fmt: skip
    columns = ["size", "format", "stored MB", "written MB", "s", "CPU s", "peak MB", "libraries MB"]
    stack.show("Converting random float16 weights", columns, rows, as_json=options.json)
    rows = [side_by_side(name, kind, options.rounds, options.scratch)
            for name in PUBLISHED for kind in ("int8", "float32")]  # fmt: skip
    columns = ["model", "format", "tokens", "equal", "published s", "converted s", "ratio",
               "CPU ratio"]  # fmt: skip
    stack.show("Published and converted files, in turns", columns, rows, as_json=options.json)


if __name__ == "__main__":
    main()
