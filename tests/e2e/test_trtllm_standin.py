"""TensorRT-LLM's recipes all the way, with stand-ins for what needs a GPU and real services for all else.

Recipe → convert or quantize → compile → configure → image → pushed to a real registry → pulled by a real
Docker Engine → files as documented → the container starts and answers.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from parts import cli
from parts.services import DockerEngine
from parts.trtllm_recipes import TWO_GPUS, VERSION, Workshop, changed, workshop, write
from parts.trtllm_serving import Image
from parts.trtllm_templates import template_files

GPUS = ("--gpus=all", f"--env=NVIDIA_SMI_STANDIN_GPUS={TWO_GPUS}")
TOKENIZER = ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"]
BUILD = {"max_batch_size": 4, "max_input_len": 4096, "gemm_plugin": "auto"}
CALIBRATION = {"dataset": "file:./texts", "num_samples": 4}


@pytest.fixture(scope="module")
def shop(registry: str, docker_engine: DockerEngine) -> Workshop:
    return workshop(registry, docker_engine)


@dataclass(frozen=True)
class Published:
    """A recipe that was run, its image in the Docker Engine, and when it began (seconds since 1970)."""

    shop: Workshop
    recipe: Path
    ended: cli.Ended
    image: Image
    begun: float

    @property
    def statuses(self) -> dict[str, str]:
        return self.ended.statuses


def publish(shop: Workshop, folder: Path, values: dict[str, Any]) -> Published:
    recipe, begun = write(folder, values), time.time()
    ended = shop.run(recipe).ok()
    return Published(shop, recipe, ended, Image(shop.engine, ended.result["image"]["names"][0]), begun)


@pytest.fixture(scope="module")
def engine(shop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Published:
    """An engine of two ranks."""
    values = shop.recipe({"build": BUILD}, tensor_parallel_size=2)
    return publish(shop, tmp_path_factory.mktemp("engine"), values)


def test_every_step_of_an_engine_is_built(engine: Published) -> None:
    steps = ("fetch", "convert", "compile", "tokenizer", "configure", "image", "publish")
    assert engine.statuses == dict.fromkeys(steps, "built")
    # convert, trtllm-build and the description of what built
    assert len(engine.shop.started(engine.begun)) == 3
    lock = json.loads(engine.recipe.with_suffix(".lock").read_text())
    assert lock["builder"]["reference"] == engine.shop.release
    assert lock["builder"]["digest"] == lock["base"]["digest"]


def test_an_engine_s_image_has_what_is_documented_and_nothing_of_the_model(engine: Published) -> None:
    image = engine.image
    assert image.files("/engine") == ["config.json", "enginebuild.json", "rank0.engine", "rank1.engine"]
    assert image.files("/tokenizer") == TOKENIZER
    assert "start.py" in image.files("/etc/enginebuild")
    assert image.run("find", "/", "-name", "*.safetensors") == ""
    config = image.document_at("/engine/config.json")
    assert set(config) == {"version", "pretrained_config", "build_config"}
    assert config["version"] == VERSION
    assert config["pretrained_config"]["mapping"]["tp_size"] == 2
    assert config["build_config"]["max_batch_size"] == 4


def test_what_the_library_rewrote_is_beside_what_was_asked(engine: Published) -> None:
    """The stand-in clips max_input_len to the 2048 positions of the model, as the real one does."""
    config = engine.image.document_at("/engine/config.json")
    assert config["build_config"]["max_input_len"] == 2048
    manifest = json.dumps(engine.image.document_at("/engine/enginebuild.json"))
    assert '"max_input_len": 4096' in manifest
    assert '"max_input_len": 2048' in manifest


def test_an_engine_s_manifest_and_labels_say_what_built_it(engine: Published) -> None:
    text = json.dumps(engine.image.document_at("/engine/enginebuild.json"))
    for said in (VERSION, "10.14.1.48", "NVIDIA H100 80GB HBM3", "9.0", "13.1.0", "590.44.01"):
        assert said in text, said
    labels = engine.image.labels
    assert labels["enginebuild.engine"] == "tensorrt_llm"
    assert labels["enginebuild.engine.version"] == VERSION
    assert labels["enginebuild.mode"] == "engine"
    assert labels["enginebuild.tensor_parallel_size"] == "2"
    assert labels["enginebuild.gpu"] == "H100-SXM-80GB"


def test_the_engine_in_the_image_is_the_one_in_the_cache(engine: Published) -> None:
    summed = engine.image.run("sha256sum", "/engine/rank0.engine", "/engine/rank1.engine").split()
    cached = {path.name for path in (engine.recipe.parent / "cache/files").rglob("*") if path.is_file()}
    assert {summed[0], summed[2]} <= cached


def test_an_engine_is_served_on_its_gpus(engine: Published) -> None:
    with engine.image.serving(*GPUS) as server:
        assert server.completion("one two three") == "three two one"


@pytest.mark.parametrize(
    "gpus",
    [
        "NVIDIA L4, 8.9, 23034, 22500; NVIDIA L4, 8.9, 23034, 22500",
        "NVIDIA H100 80GB HBM3, 9.0, 81559, 81004",
    ],
)
def test_an_engine_is_not_started_where_it_cannot_be_loaded(engine: Published, gpus: str) -> None:
    run = ("run", "--rm", "--network=none", "--gpus=all", f"--env=NVIDIA_SMI_STANDIN_GPUS={gpus}")
    with pytest.raises(AssertionError) as raised:
        engine.shop.engine.docker(*run, engine.image.name)
    said = str(raised.value)
    assert ": exit 5\n" in said
    assert "enginebuild: " in said
    assert "Traceback" not in said


def test_the_second_run_executes_nothing(engine: Published) -> None:
    begun = time.time()
    second = engine.shop.run(engine.recipe).ok()
    assert second.digest == engine.ended.digest
    assert set(second.statuses.values()) <= {"hit", "unneeded"}
    assert engine.shop.started(begun) == []


def test_another_engine_of_one_checkpoint_is_compiled_alone(engine: Published) -> None:
    begun = time.time()
    folder = engine.recipe.parent
    values = changed(json.loads(engine.recipe.read_text()), "engine.build.max_batch_size", 8)
    recipe = folder / "other.yaml"
    recipe.write_text(json.dumps(values))
    other = engine.shop.run(recipe).ok()
    built = {step for step, status in other.statuses.items() if status == "built"}
    assert built == {"compile", "configure", "image", "publish"}
    assert len(engine.shop.started(begun)) == 2
    assert other.digest != engine.ended.digest


def test_a_pinned_timing_cache_goes_into_the_build(shop: Workshop, tmp_path: Path) -> None:
    values = shop.recipe({"build": BUILD}, builder={"timing_cache": "file:./model.cache"})
    (tmp_path / "model.cache").write_bytes(b"what an earlier build has measured")
    done = publish(shop, tmp_path, values)
    assert done.statuses["timing_cache"] == "built"
    config = done.image.document_at("/engine/config.json")
    assert config["build_config"]["input_timing_cache"].endswith("/model.cache")
    # What it left begins with what it was given: it is kept beside the engine, and not in the image.
    kept = [path for path in (tmp_path / "cache/files").rglob("*") if path.is_file()]
    assert any(path.read_bytes()[34:] and path.read_bytes().startswith(b"what an earlier") for path in kept)
    assert done.image.run("find", "/engine", "-name", "*.cache") == ""


def test_fp8_is_calibrated_by_quantize_py(shop: Workshop, tmp_path: Path) -> None:
    quantization = {"method": "fp8", "kv_cache_dtype": "fp8", "calibration": CALIBRATION}
    done = publish(shop, tmp_path, shop.recipe({"build": BUILD}, quantization=quantization))
    steps = ("fetch", "calibration", "quantize", "compile", "tokenizer", "configure", "image", "publish")
    assert done.statuses == dict.fromkeys(steps, "built")
    quantized = done.image.document_at("/engine/config.json")["pretrained_config"]["quantization"]
    assert (quantized["quant_algo"], quantized["kv_cache_quant_algo"]) == ("FP8", "FP8")
    assert done.image.files("/tokenizer") == TOKENIZER
    with done.image.serving("--gpus=all") as server:
        assert server.completion("a b") == "b a"


def test_a_checkpoint_is_served_by_the_pytorch_backend(shop: Workshop, tmp_path: Path) -> None:
    engine = {"mode": "pytorch", "runtime": {"max_batch_size": 8, "kv_cache_config": {"dtype": "fp8"}}}
    values = shop.recipe(engine, tensor_parallel_size=2)
    del values["builder"]
    begun = time.time()
    done = publish(shop, tmp_path, values)
    assert done.statuses == dict.fromkeys(("fetch", "configure", "image", "publish"), "built")
    assert shop.started(begun) == []  # nothing is executed to make it
    assert "model.safetensors" in done.image.files("/model")
    text = done.image.read("/etc/enginebuild/trtllm.yaml")
    assert "tensor_parallel_size: 2\n" in text
    assert "max_batch_size: 8\n" in text
    with done.image.serving(*GPUS) as server:
        assert server.completion("a b") == "b a"


def test_triton_serves_an_engine_as_five_models_with_nothing_left_to_fill(
    shop: Workshop, tmp_path: Path
) -> None:
    engine = {"build": BUILD, "server": "triton", "runtime": {"kv_cache_free_gpu_mem_fraction": 0.8}}
    values = shop.recipe(engine, tensor_parallel_size=2, image={"base": shop.triton})
    done = publish(shop, tmp_path, values)
    assert done.statuses["triton"] == "built"
    wanted = {path.removeprefix("inflight_batcher_llm/") for path in template_files(VERSION)}
    configs = {path for path in wanted if path.endswith("/config.pbtxt") and not path.startswith("llmapi")}
    found = done.image.files("/model_repository")
    assert configs <= set(found)
    for path in configs:
        text = done.image.read(f"/model_repository/{path}")
        assert "${" not in text, path
    config = done.image.read("/model_repository/tensorrt_llm/config.pbtxt")
    assert "max_batch_size: 4\n" in config
    assert 'string_value: "/engine"' in config
    assert 'string_value: "0.8"' in config
    with done.image.serving(*GPUS) as server:
        answer = server.ask("/v2/models/ensemble/generate", {"text_input": "a b", "max_tokens": 4})
        assert answer["text_output"] == "b a"


def test_triton_loads_a_checkpoint_by_its_llmapi_model(shop: Workshop, tmp_path: Path) -> None:
    engine = {"mode": "pytorch", "server": "triton", "runtime": {"max_batch_size": 8}}
    values = shop.recipe(engine, image={"base": shop.triton})
    del values["builder"]
    done = publish(shop, tmp_path, values)
    assert "model.safetensors" in done.image.files("/model")
    text = done.image.read("/model_repository/tensorrt_llm/1/model.yaml")
    assert 'model: "/model"\n' in text
    assert 'triton_config: {"max_batch_size": 0, "decoupled": false}\n' in text
    with done.image.serving("--gpus=all") as server:
        assert server.ask("/v2/models/ensemble/generate", {"text_input": "a b"})["text_output"] == "b a"


def test_doctor_compares_the_image_with_this_machine(engine: Published) -> None:
    words = ("doctor", engine.image.name, "--json")
    two = {"NVIDIA_SMI_STANDIN_GPUS": TWO_GPUS}
    fits = cli.enginebuild(*words, env={**engine.shop.env, **two}).ok().document
    assert fits["fits"] is True
    for gpus in (TWO_GPUS.partition(";")[0], TWO_GPUS.replace("9.0", "10.0"), "none"):
        ended = cli.enginebuild(*words, env={**engine.shop.env, "NVIDIA_SMI_STANDIN_GPUS": gpus})
        assert (ended.code, ended.document["fits"]) == (5, False), gpus


def test_inspect_shows_the_engine(engine: Published) -> None:
    said = cli.enginebuild("inspect", engine.image.name, env=engine.shop.env).ok().stdout
    assert VERSION in said
    assert "H100" in said
