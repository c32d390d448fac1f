"""The real TensorRT-LLM on a real GPU: a small engine is compiled, served, and answers.

The image's parts are mounted into NVIDIA's release image instead of being put upon it: what is tested is what
we made, and 30 GB need not be sent. Minutes, most of them for the first pull.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from parts import cli, gpu_machine
from parts.isolation import ORIGINAL
from parts.tiny_llama import write_tiny_llama
from parts.trtllm_recipes import TEXTS

pytestmark = [pytest.mark.vllm]  # its time limit: 15 minutes

READY = 600.0  # seconds that a server may take to load and answer
_ASK = """
import json, urllib.request
body = json.dumps({"model": "model", "prompt": "The quick brown fox", "max_tokens": 4}).encode()
kind = {"Content-Type": "application/json"}
request = urllib.request.Request("http://127.0.0.1:8000/v1/completions", body, kind)
print(urllib.request.urlopen(request).read().decode())
"""


def real_env() -> dict[str, str]:
    """What the tests were isolated from: the machine's own Docker Engine and logins."""
    names = ("PATH", "HOME", "DOCKER_HOST", "DOCKER_CONFIG", "HTTPS_PROXY", "https_proxy")
    return {name: ORIGINAL[name] for name in names if name in ORIGINAL}


def docker(*words: str | Path) -> str:
    command = ["docker", *map(str, words)]
    ended = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **real_env()}, timeout=900, check=False
    )
    assert ended.returncode == 0, f"{' '.join(command)}\n{ended.stdout}{ended.stderr}"
    return ended.stdout


@dataclass(frozen=True)
class Built:
    """What a run made: an image in an OCI layout, and its steps by name."""

    folder: Path
    result: Mapping[str, Any]

    @property
    def image(self) -> str:
        return f"oci:{self.folder / 'out'}@{self.result['image']['digest']}"

    def export(self, step: str) -> Path:
        """The files that a step has made."""
        (key,) = (each["key"] for each in self.result["steps"] if each["name"] == step)
        place = self.folder / "exported" / step
        if place.exists():
            return place
        cli.enginebuild(
            "cache", "export", "--cache-dir", self.folder / "cache", key, place, env=real_env()
        ).ok()
        return place


def build(folder: Path, engine: Mapping[str, Any], **more: Any) -> Built:
    write_tiny_llama(folder / "model")
    (folder / "texts").mkdir()
    (folder / "texts" / "train.jsonl").write_text(TEXTS)
    recipe = {
        "version": 1,
        "name": "real",
        "model": "file:./model",
        "gpu": gpu_machine.gpu(),
        "engine": {"type": "tensorrt_llm", "version": gpu_machine.VERSION, **engine},
        "builder": {"image": gpu_machine.IMAGE, "timeout": "30m"},
        "image": {"base": "scratch"},
        **more,
    }
    path = folder / "real.yaml"
    path.write_text(json.dumps({name: value for name, value in recipe.items() if value is not None}))
    words = ("run", path, "--json", "--cache-dir", folder / "cache", "--output", folder / "out")
    return Built(folder, cli.enginebuild(*words, env=real_env()).ok().result)


def answered(built: Built, places: Mapping[str, str]) -> str:
    """What the server says when its image's parts are at their places, by step."""
    seen = cli.enginebuild("inspect", built.image, "--json", env=real_env()).ok().document
    mounts = [f"--volume={built.export(step)}:{place}:ro" for step, place in places.items()]
    program, *words = seen["entrypoint"]
    run = ("run", "--detach", "--gpus=1", "--network=none", "--ipc=host", *mounts)
    container = docker(*run, f"--entrypoint={program}", gpu_machine.IMAGE, *words).strip()
    try:
        deadline = time.monotonic() + READY
        while True:
            try:
                return str(json.loads(docker("exec", container, "python3", "-c", _ASK))["choices"][0]["text"])
            except AssertionError:
                state = json.loads(docker("inspect", container))[0]["State"]
                assert state["Running"], docker("logs", container)
                assert time.monotonic() < deadline, docker("logs", container)
                time.sleep(2)
    finally:
        docker("rm", "--force", container)


ENGINE_PLACES = {"compile": "/engine", "tokenizer": "/tokenizer", "configure": "/etc/enginebuild"}


def test_an_engine_is_compiled_and_answers(tmp_path: Path) -> None:
    built = build(tmp_path, {"build": {"max_batch_size": 4, "max_seq_len": 256}}, dtype="bfloat16")
    engine = built.export("compile")
    assert (engine / "rank0.engine").stat().st_size > 0
    assert json.loads((engine / "config.json").read_text())["version"] == gpu_machine.VERSION
    assert answered(built, ENGINE_PLACES)


def test_two_ranks_are_compiled_on_one_gpu(tmp_path: Path) -> None:
    built = build(tmp_path, {"build": {"max_batch_size": 4, "max_seq_len": 256}}, tensor_parallel_size=2)
    assert {path.name for path in built.export("compile").glob("rank*")} == {"rank0.engine", "rank1.engine"}


def test_a_checkpoint_is_served_by_the_pytorch_backend(tmp_path: Path) -> None:
    built = build(tmp_path, {"mode": "pytorch", "runtime": {"max_batch_size": 4}}, builder=None)
    assert answered(built, {"fetch": "/model", "configure": "/etc/enginebuild"})


def test_doctor_says_that_this_machine_can_load_it(tmp_path: Path) -> None:
    built = build(tmp_path, {"build": {"max_batch_size": 4, "max_seq_len": 256}})
    ended = cli.enginebuild("doctor", built.image, env=real_env())
    assert ended.code == 0, ended.stdout + ended.stderr
