"""The speech engine against faster-whisper's loop in float32, with the same recordings.

Differences: the engine cuts long recordings at silences and decodes the windows in batches,
faster-whisper continues at the last timestamp; the engine pads a window with silence before the
spectrogram, as OpenAI's Whisper does, faster-whisper after it; int8 rounds the weights.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import jiwer
import pytest
from faster_whisper import WhisperModel

from fleet_contract.cpus import available_cpus
from fleet_contract.spec import ModelSpec
from fleet_server.audio.decode import decode
from fleet_server.audio.scratch import Scratch, ScratchFile
from fleet_server.engines.ctranslate2 import SpeechEngine
from fleet_server.protocols import Float32, SpeechOptions
from support.required import require_program

pytestmark = pytest.mark.weights

TEXT = (
    "Good afternoon and welcome to the weekly meeting of the garden club. Today we want to talk "
    "about three things. The first is the new greenhouse, which was finished last Friday after "
    "nearly four months of work. The second is the annual flower show, which will take place in "
    "the town hall. The third is the budget for the coming year. The greenhouse cost a little "
    "more than we expected, because the price of glass went up in the spring. However, several "
    "members gave their time for free, and a local company lent us the tools that we needed."
)
PLAIN = jiwer.Compose(
    [jiwer.ToLowerCase(), jiwer.SubstituteRegexes({r"[^\w\s]": " "}),
     jiwer.RemoveMultipleSpaces(), jiwer.Strip(), jiwer.ReduceToListOfListOfWords()]
)  # fmt: skip


def word_errors(reference: str, hypothesis: str) -> float:
    rate: float = jiwer.wer(
        reference, hypothesis, reference_transform=PLAIN, hypothesis_transform=PLAIN
    )
    return rate


@pytest.fixture(scope="module")
def folder(demo_weights: Callable[[str], Path]) -> Path:
    return demo_weights("openai/whisper-base")


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Float32:
    require_program("espeak-ng")
    path = tmp_path_factory.mktemp("speech") / "text.wav"
    command = ["espeak-ng", "-v", "en-us", "-s", "150", "-w", str(path), TEXT]
    subprocess.run(command, check=True, timeout=180)
    with path.open("rb") as file, ScratchFile(Scratch(1 << 30), 1 << 30) as space:
        return decode(file, 600, lambda: False, space)


@pytest.fixture(scope="module")
def oracle(folder: Path, spoken: Float32) -> str:
    model = WhisperModel(
        str(folder), device="cpu", compute_type="float32", cpu_threads=available_cpus(),
        local_files_only=True,
    )  # fmt: skip
    segments, _ = model.transcribe(spoken, language="en", condition_on_previous_text=False)
    return "".join(segment.text for segment in segments)


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_equal_words_to_faster_whisper(
    folder: Path, spoken: Float32, oracle: str, dtype: str
) -> None:
    spec = ModelSpec.model_validate(
        {"model": "m", "task": "speech", "device": "cpu", "dtype": dtype}
    )
    engine = SpeechEngine(spec, folder, available_cpus())
    try:
        found = engine.transcribe(spoken, SpeechOptions(language="en"), lambda: False).text
    finally:
        engine.close()
    assert word_errors(oracle, found) <= 0.06, (oracle, found)
    assert word_errors(TEXT, found) <= word_errors(TEXT, oracle) + 0.04, found
