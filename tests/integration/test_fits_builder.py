"""A run that this machine cannot make is refused before the first byte, by the machine's own numbers."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from enginebuild.runners.host_memory import host_memory
from parts import cli, recipes
from parts.hub_models import write_model
from parts.hub_server import HubServer
from parts.published_models import config, facts

LARGE = "meta-llama/Llama-3.1-405B-Instruct"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubServer]:
    """A model of 405B parameters, as far as its config.json says so."""
    model = write_model(tmp_path / "hub/org/large")
    (model / "config.json").write_text(json.dumps(config(LARGE)))
    with HubServer(tmp_path / "hub") as server:
        yield server


def _recipe(folder: Path) -> None:
    """Quantized here with texts, in an environment with a Python and no quantizer: it is never started."""
    (folder / "texts").mkdir()
    (folder / "texts/samples.jsonl").write_text('{"text": "one"}\n')
    section = (
        "quantization:\n  method: w4a16_gptq\n"
        "  calibration: {dataset: file:./texts, num_samples: 512, max_seq_length: 2048}\n"
        f"builder: {{runner: local, environment: {sys.prefix}, gpus: 0, timeout: 1h}}\n"
    )
    path = recipes.write(folder, "hf://org/large", name="large")
    path.write_text(path.read_text().replace("engine:", f"{section}engine:", 1))


def _ended(folder: Path, hub: HubServer, *words: str) -> cli.Ended:
    env = {"HF_ENDPOINT": hub.endpoint}
    return cli.enginebuild(*words, "--cache-dir", folder / "cache", cwd=folder, env=env)


def _locked(folder: Path, hub: HubServer) -> None:
    """The lock says that the weights are as large as the model is."""
    _recipe(folder)
    _ended(folder, hub, "lock", "large.yaml").ok()
    lock = folder / "large.lock"
    document = json.loads(lock.read_text())
    (weights,) = [file for file in document["model"]["files"] if file["path"] == "model.safetensors"]
    weights |= {"size": facts(LARGE).counted_bytes, "sha256": "0" * 64}
    lock.write_text(json.dumps(document))


def test_a_model_that_this_machine_cannot_quantize(tmp_path: Path, hub: HubServer) -> None:
    _locked(tmp_path, hub)
    ended = _ended(tmp_path, hub, "run", "large.yaml", "--output", "out")
    assert ended.code == 5, ended.stderr
    host = host_memory()
    assert host is not None
    assert host.size < 200 << 30, "this test wants a machine that is smaller"
    assert re.search(
        r"large\.yaml:8:10: the step quantize needs at least 182\.0 GiB of memory \(llm-compressor loads the "
        rf"whole model\), and this machine has {re.escape(f'{host.size / (1 << 30):.1f}')} GiB\n",
        ended.stderr,
    ), ended.stderr
    assert "756.0 GiB are to be fetched, and the cache's disk has" in ended.stderr
    assert hub.bytes_sent("*.safetensors") == 1
    # A plan knows the disk, and not on which machine the commands will run.
    plan = _ended(tmp_path, hub, "plan", "large.yaml")
    assert plan.code == 5
    assert "of memory" not in plan.stderr
    assert "756.0 GiB are to be fetched" in plan.stderr


def test_a_step_that_likely_takes_longer_than_it_may(tmp_path: Path, hub: HubServer) -> None:
    _locked(tmp_path, hub)
    allowed = ("--set", "allow=[disk]")
    warned = re.compile(
        r"^warning: the step quantize takes probably [0-9.]+ h \(model: [^)]+\), and builder\.timeout is "
        r"1\.0 h; raise builder\.timeout$",
        re.MULTILINE,
    )
    plan = _ended(tmp_path, hub, "plan", "large.yaml", *allowed).ok()
    assert warned.search(plan.stderr), plan.stderr
    assert warned.search(_ended(tmp_path, hub, "run", "large.yaml", *allowed).stderr)
    longer = ("--set", "builder.timeout=9000000h")
    assert "builder.timeout" not in _ended(tmp_path, hub, "plan", "large.yaml", *allowed, *longer).ok().stderr
