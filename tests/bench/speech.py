"""The speech engine compared with faster-whisper, in turns, with the same recordings and weights.

    python tests/bench/speech.py MODEL_FOLDER [--rounds 3] [--threads 2] [--hour]

`loop` is faster-whisper's WhisperModel.transcribe, `batched` its BatchedInferencePipeline, both
with their defaults; `engine` is this project's. Each runs in its own process, so that its memory is
separate. The recordings are made with espeak-ng: a long one, and eight short ones, sent one after
the other and concurrently. `--hour` reads an hour of the long one repeatedly, with the engine only.
"""

from __future__ import annotations

import argparse
import multiprocessing
import platform
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import jiwer
import numpy as np
from spoken_texts import LONG, SHORT, Spoken

from fleet_server.audio.decode import decode
from fleet_server.audio.scratch import Scratch, ScratchFile
from fleet_server.protocols import Float32

Transcribe = Callable[[Float32, str], str]
KINDS = ("engine", "loop", "batched")
PLAIN = jiwer.Compose(
    [jiwer.ToLowerCase(), jiwer.SubstituteRegexes({r"[^\w\s]": " "}),
     jiwer.RemoveMultipleSpaces(), jiwer.Strip(), jiwer.ReduceToListOfListOfWords()]
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Recording:
    """`audio` is repeated `repeats` times as one recording."""

    audio: Float32
    language: str
    repeats: int = 1


@dataclass(frozen=True, slots=True)
class Measured:
    """One turn: `peak_mib` is the peak resident memory of the process so far, and `cpu_seconds` the
    time of all its threads, which depends less on other load.
    """

    seconds: float
    cpu_seconds: float
    texts: Sequence[str]
    peak_mib: float


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("folder", type=Path, help="a CTranslate2 Whisper folder")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    options.add_argument("--parts", nargs="+", choices=("long", "short"),
                         default=("long", "short"))  # fmt: skip
    options.add_argument("--english", action="store_true", help="only English recordings")
    options.add_argument("--hour", action="store_true")
    given = options.parse_args()
    print(f"{platform.processor() or platform.machine()}, {given.threads} threads, "
          f"{given.folder.name}, median of {given.rounds} rounds")  # fmt: skip
    if given.hour:
        _hour(given.folder, given.threads)
        return
    short = [spoken for spoken in SHORT if spoken.language == "en" or not given.english]
    tasks: list[tuple[str, list[Spoken], bool]] = []
    if "long" in given.parts:
        tasks.append(("one long", [LONG], False))
    if "short" in given.parts:
        tasks.append(("short, one by one", short, False))
        tasks.append(("short, at once", short, True))
    workers = {kind: _Worker(kind, given.folder, given.threads) for kind in given.kinds}
    for name, spoken, at_once in tasks:
        recordings = [_recorded(one) for one in spoken]
        measured: dict[str, list[Measured]] = {kind: [] for kind in workers}
        for _ in range(given.rounds):
            for kind, worker in workers.items():
                measured[kind].append(worker.run(recordings, at_once))
        seconds = sum(len(recording.audio) for recording in recordings) / 16_000
        print(f"\n{name}: {len(recordings)} recordings of {seconds:.0f} s in all")
        for kind, turns in measured.items():
            _report(kind, seconds, spoken, turns)
    for worker in workers.values():
        worker.close()


def _report(kind: str, seconds: float, spoken: Sequence[Spoken], turns: list[Measured]) -> None:
    took = median(turn.seconds for turn in turns)
    cpu = median(turn.cpu_seconds for turn in turns)
    references = [one.text for one in spoken]
    errors = median(
        jiwer.wer(
            references, list(turn.texts), reference_transform=PLAIN, hypothesis_transform=PLAIN
        )
        for turn in turns
    )
    words = sum(len(text.split()) for text in turns[-1].texts)
    print(f"  {kind:8s} {took:7.2f} s  {cpu:7.2f} CPU s  {seconds / took:5.1f} x real time  "
          f"WER {errors:6.2%}  {words:4d} words  {turns[-1].peak_mib:5.0f} MiB",
          flush=True)  # fmt: skip


def _hour(folder: Path, threads: int) -> None:
    """Peak memory after one pass over the long recording, and after an hour of it."""
    worker = _Worker("engine", folder, threads)
    once = _recorded(LONG)
    times = 3600 * 16_000 // len(once.audio) + 1
    for name, repeats in (("once", 1), ("an hour", times)):
        turn = worker.run([Recording(once.audio, once.language, repeats)], False)
        print(f"  {name:8s} {turn.seconds:7.1f} s  {turn.peak_mib:5.0f} MiB", flush=True)
    worker.close()


class _Worker:
    """A process with one model that processes one task at a time."""

    def __init__(self, kind: str, folder: Path, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(kind, folder, threads, theirs))
        self._process.start()
        theirs.close()

    def run(self, recordings: Sequence[Recording], at_once: bool) -> Measured:
        self._pipe.send((recordings, at_once))
        measured: Measured = self._pipe.recv()
        return measured

    def close(self) -> None:
        self._pipe.send(None)
        self._process.join()


def _serve(kind: str, folder: Path, threads: int, pipe: Connection) -> None:
    transcribe = {"engine": _engine, "loop": _loop, "batched": _batched}[kind](folder, threads)
    while (task := pipe.recv()) is not None:
        recordings, at_once = task
        started, used = time.monotonic(), time.process_time()
        with ThreadPoolExecutor(len(recordings) if at_once else 1) as pool:
            texts = list(pool.map(partial(_text, transcribe), recordings))
        pipe.send(
            Measured(time.monotonic() - started, time.process_time() - used, texts, _peak_mib())
        )


def _text(transcribe: Transcribe, recording: Recording) -> str:
    with tempfile.TemporaryFile() as file:  # mapped, as the server stores long recordings
        for _ in range(recording.repeats):
            recording.audio.tofile(file)
        file.flush()
        return transcribe(np.memmap(file, np.float32, "r"), recording.language)


def _engine(folder: Path, threads: int) -> Transcribe:
    from fleet_contract.spec import ModelSpec
    from fleet_server.engines.ctranslate2 import SpeechEngine
    from fleet_server.protocols import SpeechOptions

    spec = ModelSpec.model_validate({"model": "m", "task": "speech", "device": "cpu"})
    engine = SpeechEngine(spec, folder, threads)
    return lambda audio, language: (
        engine.transcribe(audio, SpeechOptions(language=language), lambda: False).text
    )


def _loop(folder: Path, threads: int) -> Transcribe:
    return _joined(_whisper(folder, threads).transcribe)


def _batched(folder: Path, threads: int) -> Transcribe:
    from faster_whisper import BatchedInferencePipeline

    return _joined(BatchedInferencePipeline(_whisper(folder, threads)).transcribe)


def _whisper(folder: Path, threads: int) -> Any:
    from faster_whisper import WhisperModel

    return WhisperModel(
        str(folder), device="cpu", compute_type="int8", cpu_threads=threads, local_files_only=True
    )


def _joined(transcribe: Callable[..., Any]) -> Transcribe:
    return lambda audio, language: "".join(
        segment.text for segment in transcribe(audio, language=language)[0]
    ).strip()


def _peak_mib() -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def _recorded(spoken: Spoken) -> Recording:
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        command = ["espeak-ng", "-v", spoken.voice, "-s", str(spoken.pace), "-w", file.name]
        subprocess.run([*command, spoken.text], check=True)
        with open(file.name, "rb") as wave, ScratchFile(Scratch(1 << 30), 1 << 30) as space:
            return Recording(decode(wave, 600, lambda: False, space), spoken.language)


if __name__ == "__main__":
    main()
