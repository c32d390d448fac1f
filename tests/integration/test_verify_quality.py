"""A quantized engine against its unquantized source, on GPUs: stand-ins in a real Docker Engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from parts import cli
from parts.services import DockerEngine
from parts.trtllm_recipes import Workshop, changed, workshop, write

TEXTS = ["Water boils at", "Two and two is"]
VERIFY = {"quality": {"prompts": TEXTS, "max_exact_match_drop": 0.5}}


@pytest.fixture(scope="module")
def shop(registry: str, docker_engine: DockerEngine) -> Workshop:
    return workshop(registry, docker_engine)


@pytest.fixture(scope="module")
def values(shop: Workshop) -> dict[str, Any]:
    return shop.recipe({"mode": "engine"}, quantization="w8a16", verify=VERIFY)


@pytest.fixture(scope="module")
def passed(
    shop: Workshop, values: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, cli.Ended]:
    folder = tmp_path_factory.mktemp("quality")
    return folder, shop.run(write(folder, values)).ok()


def report_of(ended: cli.Ended) -> dict[str, Any]:
    report: dict[str, Any] = (
        cli.enginebuild("inspect", ended.result["image"]["names"][0], "--json").ok().document["verification"]
    )
    return report


def test_it_is_served_on_the_gpus_and_compared(passed: tuple[Path, cli.Ended]) -> None:
    _, ended = passed
    report = report_of(ended)
    assert report["gpus"] == ["NVIDIA H100 80GB HBM3"]
    assert report["quality"] == {"exact_match": 0.5}
    # The unquantized engine was built and asked before.
    built = [event["step"] for event in ended.events if event["event"] == "step_finished"]
    assert built[built.index("image") + 1 :][-3:] == ["verify_source", "verify", "publish"]
    assert built.count("image") == 2


def test_another_bound_asks_the_quantized_engine_alone(
    shop: Workshop, values: dict[str, Any], passed: tuple[Path, cli.Ended]
) -> None:
    folder, before = passed
    tighter = changed(values, "verify.quality.max_exact_match_drop", 0.4)
    ended = shop.run(write(folder, tighter))
    assert ended.code == 7
    assert ended.result["message"] == (
        "tiny failed verification:\n"
        "  quality: 0.5 of the texts go on otherwise than the unquantized model has them, "
        "max_exact_match_drop allows 0.4"
    )
    status = {event["step"]: event["status"] for event in ended.events if event["event"] == "step_finished"}
    assert status["verify_source"] == "hit"
    kept = json.loads(next((folder / "cache" / "logs").glob("verify-*/report.json")).read_text())
    assert (kept["passed"], kept["quality"]) == (False, {"exact_match": 0.5})
    again = shop.run(write(folder, values)).ok()
    assert (again.digest, again.statuses["verify"]) == (before.digest, "hit")


def test_without_the_gpus_it_is_refused_before_anything_is_built(
    shop: Workshop, values: dict[str, Any], tmp_path: Path
) -> None:
    two = changed(values, "tensor_parallel_size", 2)
    ended = shop.run(write(tmp_path, two))
    assert ended.code == 5
    assert ended.result["message"] == (
        "this machine cannot verify what is to be built:\n"
        "  too few GPUs: the step verify needs 2, and this machine has 0 (NVIDIA H100 80GB HBM3, 9.0)"
    )
