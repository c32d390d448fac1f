"""What `check` refuses and lets pass, against vLLM itself on the CPU: which configurations 0.33.0 makes, and
which classes the Transformers backend of 0.32.0 really serves.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from enginebuild.engines.vllm.architectures import registry
from parts import vllm_configured, vllm_transformers
from parts.known import Combination, combinations, failures
from parts.recipes import QUICKSTART_MODEL
from parts.vllm_cpu import VERSION, VllmCpu, vllm_cpu, vllm_python_parts

pytestmark = [pytest.mark.vllm, pytest.mark.slow]

_KNOWN = Path(__file__).parents[1] / "unit" / "fit"
_NEWEST = "0.33.0"
#: They need torchvision, which vllm-cpu's environment has not.
_OF_IMAGES = ("Llama4ForConditionalGeneration", "Gemma3ForConditionalGeneration")
#: Of the API server, not of its engine.
_SERVERS = ("tool_call_parser", "enable_auto_tool_choice", "reasoning_parser")


@pytest.fixture(scope="module")
def installed() -> VllmCpu:
    return vllm_cpu()


def _case(name: str, which: Combination, folder: Path) -> Mapping[str, Any]:
    folder.mkdir()
    recipe = yaml.safe_load(which.write(folder).read_text())
    said = recipe["engine"].get("args") or {}
    args = {key: value for key, value in said.items() if key not in _SERVERS}
    top = ("dtype", "tensor_parallel_size", "pipeline_parallel_size")
    args |= {key: recipe[key] for key in top if key in recipe}
    return {"name": name, "model": str(folder / "model"), "args": args}


def test_vllm_refuses_and_takes_the_same(installed: VllmCpu, tmp_path: Path) -> None:
    """Each failure that needs no GPU to be seen, and each published combination; together, for vLLM takes
    long to be imported.
    """
    bad = {name: each for name, each in failures(_KNOWN / "known_failures").items() if each.vllm_says}
    good = {
        name: each
        for name, each in combinations(_KNOWN / "known_good").items()
        if each.engine == "vllm" and not {*_OF_IMAGES} & {*each.model_config()["architectures"]}
    }
    assert len(bad) >= 16
    assert len(good) >= 30
    cases = tmp_path / "cases.jsonl"
    together: Mapping[str, Combination] = {**bad, **good}
    lines = [
        json.dumps(_case(name, each, tmp_path / str(number)))
        for number, (name, each) in enumerate(together.items())
    ]
    cases.write_text("\n".join(lines))
    environment = installed.environment(
        VLLM_TARGET_DEVICE="cpu", VLLM_LOGGING_LEVEL="ERROR", PYTHONPATH=str(vllm_python_parts(_NEWEST))
    )
    argv: list[str | Path] = [installed.python, "-P", vllm_configured.__file__ or "", cases]
    ended = subprocess.run(argv, capture_output=True, text=True, env=environment, timeout=590, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]
    said = {
        found["name"]: found["said"]
        for line in ended.stdout.splitlines()
        if line.startswith("{")
        for found in [json.loads(line)]
    }
    assert said.keys() == together.keys()
    assert {name: said[name] for name in good if said[name] is not None} == {}
    assert {name: said[name] for name, each in bad.items() if each.vllm_says not in (said[name] or "")} == {}


@pytest.mark.parametrize(
    ("name", "served"), [("PersimmonForCausalLM", True), ("T5ForConditionalGeneration", False)]
)
def test_the_transformers_backend(installed: VllmCpu, name: str, served: bool, tmp_path: Path) -> None:
    known = registry(VERSION)
    assert (name in known.transformers, name in known.refused) == (served, not served)
    script = vllm_transformers.__file__ or ""
    argv: list[str | Path] = [installed.python, "-P", script, name, tmp_path / "model", QUICKSTART_MODEL]
    environment = installed.environment(VLLM_TARGET_DEVICE="cpu")
    ended = subprocess.run(argv, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert (ended.returncode == 0) == served, ended.stdout[-2000:] + ended.stderr[-2000:]
    if not served:
        assert "not found in the forward method" in ended.stdout + ended.stderr
