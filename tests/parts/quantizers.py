"""The environments of images/builders, the quantizers' and lm-eval's, made once from the locked requirements
(a minute, 1.7 and 0.8 GB), and real runs of the quantizers.

`python -m parts.quantizers llm-compressor` makes one and prints the path of its python.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from enginebuild.execution import Execution, Folders, Limits, LocalEnvironment
from enginebuild.quantizers import methods, took_effect
from enginebuild.quantizers.forms import TOOLS
from enginebuild.quantizers.took_effect import Effect
from enginebuild.runners.local import LocalRunner
from enginebuild_cache import Digest
from parts.built_once import built_once
from parts.checkout import ROOT
from parts.isolation import ORIGINAL
from parts.quantized import Wanted
from parts.tiny_llama import TEXT

#: Enough for two cores; the number decides GPTQ's bytes.
THREADS = 2


def requirements(tool: str) -> Path:
    """The locked requirements of a tool's environment."""
    return ROOT / "images" / "builders" / tool / "requirements.txt"


def quantizer(tool: str) -> Path:
    """The folder of the tool's environment, made now if it does not exist. Raises RuntimeError with the end
    of pip's output.
    """
    locked = Digest.of_file(requirements(tool)).hex[:12]
    name = f"{tool}-py{sys.version_info[0]}{sys.version_info[1]}-{locked}"
    return built_once(name, lambda folder: _build(folder, tool)) / "venv"


def _build(folder: Path, tool: str) -> None:
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True, env=ORIGINAL)
    python, listed = folder / "venv" / "bin" / "python", requirements(tool)
    words: list[str | Path] = [python, "-m", "pip", "install", "--quiet", "--no-deps", "-r", listed]
    made = subprocess.run(words, capture_output=True, text=True, check=False, env=ORIGINAL)
    if made.returncode:
        raise RuntimeError(f"{tool}: {made.stderr[-3000:]}")


def write_texts(folder: Path) -> None:
    """32 samples to calibrate with, half of them conversations: for tests, too few for anything real."""
    folder.mkdir(parents=True)
    words = TEXT.split()
    texts = [{"text": " ".join(words[at * 7 : at * 7 + 80])} for at in range(16)]
    chats = [
        {
            "messages": [
                {"role": "user", "content": " ".join(words[at * 5 : at * 5 + 30])},
                {"role": "assistant", "content": " ".join(words[at * 5 + 30 : at * 5 + 60])},
            ]
        }
        for at in range(16)
    ]
    lines = (json.dumps(sample, ensure_ascii=False) + "\n" for sample in [*texts, *chats])
    (folder / "samples.jsonl").write_text("".join(lines), encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Made:
    """A quantized checkpoint, and what was done to the model."""

    folder: Path
    effect: Effect

    def digests(self) -> dict[str, str]:
        """Every file's digest by its path."""
        files = (path for path in self.folder.rglob("*") if path.is_file())
        return {path.relative_to(self.folder).as_posix(): str(Digest.of_file(path)) for path in sorted(files)}


def quantize(wanted: Wanted, model: Path, texts: Path, folder: Path, log: list[str]) -> Made:
    """Run the tool's program as the step does; `log` gets its lines. Raises StepError."""
    tool = TOOLS[wanted.tool]  # type: ignore[index] # a recipe's tool is any str
    asked = methods.request(wanted, THREADS)
    scripts, output = folder / "scripts", folder / "output"
    scripts.mkdir(parents=True)
    output.mkdir()
    for name, content in methods.scripts(wanted.tool, asked).items():
        (scripts / name).write_bytes(content)
    inputs = {methods.MODEL: model}
    if wanted.calibration is not None:
        inputs[methods.CALIBRATION] = texts
    execution = Execution(
        "quantize",
        LocalEnvironment(quantizer(wanted.tool), tool.versions),
        (methods.command(wanted.tool, calibrated=wanted.calibration is not None),),
        limits=Limits(timeout=600),
    )
    LocalRunner().run(execution, Folders(inputs, scripts, output), log.append)
    effect = took_effect.check(model, output, wanted.tool, asked)
    return Made(output, effect)


def quantized_once(wanted: Wanted, model: Path, weights: Digest) -> Made:
    """A model quantized without texts, kept between test runs under everything that decides it."""
    decided = Digest.of_json({"weights": str(weights), **methods.key_fields(wanted, THREADS)})

    def build(folder: Path) -> None:
        quantize(wanted, model, model, folder, [])

    output = built_once(f"{model.parent.name}-{wanted.method}-{decided.hex[:12]}", build) / "output"
    asked = methods.request(wanted, THREADS)
    return Made(output, took_effect.check(model, output, wanted.tool, asked))


if __name__ == "__main__":
    print(quantizer(sys.argv[1]) / "bin" / "python")
