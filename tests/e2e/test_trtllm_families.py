"""Engines of other families, methods and versions, by stand-ins that parse with each one's own options."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from parts import services
from parts.oci_image import push
from parts.services import DockerEngine
from parts.trtllm_images import release_image, triton_image
from parts.trtllm_recipes import Workshop, workshop, write
from parts.trtllm_serving import Image

BUILD = {"max_batch_size": 4}
CALIBRATION = {"dataset": "file:./texts", "num_samples": 4}


@pytest.fixture(scope="module")
def shop(registry: str, docker_engine: DockerEngine) -> Workshop:
    return workshop(registry, docker_engine)


def built(shop: Workshop, folder: Path, values: Mapping[str, Any], **config: Any) -> Image:
    """The image of a recipe whose model's config.json says `config`, too."""
    recipe = write(folder, values)
    path = folder / "model" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))
    done = shop.run(recipe).ok()
    assert "built" in (done.statuses.get("convert"), done.statuses.get("quantize"))
    return Image(shop.engine, done.result["image"]["names"][0])


@pytest.mark.parametrize(
    ("architecture", "model_type"),
    [
        ("MistralForCausalLM", "mistral"),
        ("Qwen2ForCausalLM", "qwen2"),
        ("Gemma2ForCausalLM", "gemma2"),
        ("Phi3ForCausalLM", "phi3"),
        ("Starcoder2ForCausalLM", "starcoder2"),
    ],
)
def test_each_family_s_own_script_converts_for_two_ranks(
    shop: Workshop, tmp_path: Path, architecture: str, model_type: str
) -> None:
    values = shop.recipe({"build": BUILD}, tensor_parallel_size=2)
    image = built(shop, tmp_path, values, architectures=[architecture], model_type=model_type)
    config = image.document_at("/engine/config.json")["pretrained_config"]
    assert config["architecture"] == architecture
    assert (config["dtype"], config["mapping"]["tp_size"]) == ("bfloat16", 2)


@pytest.mark.parametrize(
    ("quantization", "algo", "kv"),
    [
        ("w8a16", "W8A16", None),
        ("w4a16", "W4A16", None),
        ({"method": "w4a16_awq", "group_size": 64, "calibration": CALIBRATION}, "W4A16_AWQ", None),
        ({"method": "w8a8_int8", "calibration": CALIBRATION}, "W8A8_SQ_PER_CHANNEL", None),
        (
            {
                "method": "w4a8_awq",
                "group_size": 64,
                "kv_cache_dtype": "fp8",
                "calibration": CALIBRATION,
            },
            "W4A8_AWQ",
            "FP8",
        ),
    ],
)
def test_each_method_is_what_the_engine_says_it_is(
    shop: Workshop, tmp_path: Path, quantization: Any, algo: str, kv: str | None
) -> None:
    image = built(shop, tmp_path, shop.recipe({"build": BUILD}, quantization=quantization))
    found = image.document_at("/engine/config.json")["pretrained_config"]["quantization"]
    assert (found["quant_algo"], found["kv_cache_quant_algo"]) == (algo, kv)


@pytest.mark.parametrize(
    ("version", "triton"),
    [("0.12.0", "24.08"), ("0.16.0", None), ("0.20.0", None), ("1.0.0", None), ("1.3.0rc15", None)],
)
def test_each_version_builds_and_serves(
    shop: Workshop, tmp_path: Path, version: str, triton: str | None
) -> None:
    busybox = services.program("busybox")
    push(release_image(version, busybox), shop.registry, "tensorrt-llm/release", version)
    reference = base = f"{shop.registry}/tensorrt-llm/release:{version}"
    server = "trtllm-serve"
    if triton is not None:
        tag, server = f"{triton}-trtllm-python-py3", "triton"
        push(triton_image(version, busybox), shop.registry, "tritonserver", tag)
        base = f"{shop.registry}/tritonserver:{tag}"
    engine = {"version": version, "mode": "engine", "build": BUILD, "server": server}
    values = shop.recipe(engine, builder={"image": reference}, image={"base": base})
    image = built(shop, tmp_path, values)
    assert image.document_at("/engine/config.json")["version"] == version
    with image.serving("--gpus=all") as container:
        if triton is None:
            assert container.completion("a b") == "b a"
        else:
            answer = container.ask("/v2/models/ensemble/generate", {"text_input": "a b"})
            assert answer["text_output"] == "b a"
