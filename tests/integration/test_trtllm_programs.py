"""The stand-ins for TensorRT-LLM's programs, as processes: what they refuse, and what they leave."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from parts.services import NVIDIA_STANDIN
from parts.tiny_llama import write_tiny_llama
from parts.trtllm_programs import write_environment
from parts.trtllm_standin.checkpoint import is_safetensors

GPUS = "NVIDIA_SMI_STANDIN_GPUS"
B200 = {GPUS: "NVIDIA B200, 10.0, 183359, 182000"}
A100 = {GPUS: "NVIDIA A100-SXM4-80GB, 8.0, 81920, 81000"}


@dataclass(frozen=True)
class Programs:
    """One version's programs in an environment of their own, and a model."""

    folder: Path
    fault: Path
    model: Path

    def run(
        self, *words: str | Path, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment, where there is a GPU."""
        path = f"{self.folder}/bin:{NVIDIA_STANDIN}:/usr/bin:/bin"
        return subprocess.run(
            [str(word) for word in words],
            env={**os.environ, "PATH": path, **(env or {})},
            cwd=self.model.parent,
            capture_output=True,
            text=True,
            check=False,
        )

    def convert(self, family: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
        script = self.folder / f"examples/models/core/{family}/convert_checkpoint.py"
        return self.run("python", script, *words)

    def checkpoint(self, *words: str, algo: str | None = None, kv: str | None = None) -> Path:
        """A checkpoint of the model; `algo` and `kv` are written into it, whatever made them."""
        made = self.model.parent / "checkpoint"
        said = self.convert("llama", "--model_dir", self.model, "--output_dir", made, *words)
        assert said.returncode == 0, said.stderr
        config = json.loads((made / "config.json").read_text())
        config["quantization"] |= {"quant_algo": algo, "kv_cache_quant_algo": kv}
        (made / "config.json").write_text(json.dumps(config))
        return made

    def build(
        self, checkpoint: Path, *words: str, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        output = self.model.parent / "engine"
        shutil.rmtree(output, ignore_errors=True)
        return self.run(
            "trtllm-build", "--checkpoint_dir", checkpoint, "--output_dir", output, *words, env=env
        )


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    return programs_of(tmp_path, "1.2.1")


def programs_of(folder: Path, version: str) -> Programs:
    fault = write_environment(folder / "environment", version)
    write_tiny_llama(folder / "model")
    return Programs(folder / "environment", fault, folder / "model")


def config_of(folder: Path) -> Any:
    return json.loads((folder / "config.json").read_text())


def refused(ended: subprocess.CompletedProcess[str]) -> str:
    assert ended.returncode == 1, ended.stdout + ended.stderr
    return ended.stderr.splitlines()[-1]


def test_a_checkpoint_has_a_whole_file_for_each_rank(programs: Programs) -> None:
    made = programs.checkpoint("--tp_size", "2", "--pp_size", "2")
    assert sorted(path.name for path in made.iterdir()) == [
        "config.json",
        *(f"rank{rank}.safetensors" for rank in range(4)),
    ]
    assert all(is_safetensors(path) for path in made.glob("rank*"))
    config = config_of(made)
    assert config["architecture"] == "LlamaForCausalLM"
    assert config["dtype"] == "bfloat16"
    assert (config["mapping"]["tp_size"], config["mapping"]["pp_size"]) == (2, 2)


def test_auto_makes_float16_of_float32(programs: Programs) -> None:
    config = config_of(programs.model) | {"torch_dtype": "float32"}
    (programs.model / "config.json").write_text(json.dumps(config))
    assert config_of(programs.checkpoint())["dtype"] == "float16"


@pytest.mark.parametrize(
    ("words", "algo", "kv"),
    [
        (("--use_weight_only",), "W8A16", None),
        (("--use_weight_only", "--weight_only_precision", "int4"), "W4A16", None),
        (("--use_weight_only", "--weight_only_precision", "int4_gptq"), "W4A16_GPTQ", None),
        (("--use_fp8", "--fp8_kv_cache"), "FP8", "FP8"),
        (("--use_fp8_rowwise",), "FP8_PER_CHANNEL_PER_TOKEN", None),
    ],
)
def test_what_a_conversion_quantizes(
    programs: Programs, words: tuple[str, ...], algo: str, kv: str | None
) -> None:
    output = programs.model.parent / "out"
    said = programs.convert("llama", "--model_dir", programs.model, "--output_dir", output, *words)
    assert said.returncode == 0, said.stderr
    found = config_of(output)["quantization"]
    assert (found["quant_algo"], found["kv_cache_quant_algo"]) == (algo, kv)


def test_what_a_conversion_refuses(programs: Programs) -> None:
    model, output = programs.model, programs.model.parent / "out"
    words = ("--model_dir", model, "--output_dir", output)
    assert programs.convert("qwen", "--output_dir", output).returncode == 2  # its --model_dir is required
    said = refused(programs.convert("qwen", *words))
    assert said == "NotImplementedError: qwen: unsupported architecture 'LlamaForCausalLM'"
    said = refused(programs.convert("llama", "--model_dir", output, "--output_dir", output))
    assert said == f"OSError: {output} does not appear to have a file named config.json"
    assert programs.convert("gemma", *words, "--tp_size", "2").returncode == 2  # it has --world-size
    calibrated = programs.convert("llama", *words, "--smoothquant", "0.5")
    assert refused(calibrated) == "ConnectionError: Couldn't reach 'ccdv/cnn_dailymail' on the Hub (offline)"
    config = config_of(model) | {"quantization_config": {"quant_method": "gptq", "desc_act": True}}
    (model / "config.json").write_text(json.dumps(config))
    assert refused(programs.convert("llama", *words)).startswith("ValueError: GPTQ with desc_act=True")
    (model / "model.safetensors").unlink()
    assert refused(programs.convert("llama", *words)).startswith("OSError: no file named model.safetensors")
    assert not output.exists()


def test_an_engine_has_what_the_documentation_says(programs: Programs) -> None:
    checkpoint = programs.checkpoint("--tp_size", "2")
    cache = programs.model.parent / "model.cache"
    said = programs.build(checkpoint, "--output_timing_cache", str(cache), "--max_batch_size", "4")
    assert said.returncode == 0, said.stderr
    lines = [line.split("] ")[-1] for line in said.stdout.splitlines()]
    assert lines[0] == "TensorRT-LLM version: 1.2.1"
    assert lines[2].startswith("Total time of building Unnamed Network 0: 00:00:")
    assert lines[-1].startswith("Total time of building all engines: 00:00:")
    engine = programs.model.parent / "engine"
    assert sorted(path.name for path in engine.iterdir()) == ["config.json", "rank0.engine", "rank1.engine"]
    config = config_of(engine)
    assert set(config) == {"version", "pretrained_config", "build_config"}
    assert config["version"] == "1.2.1"
    assert config["pretrained_config"] == config_of(checkpoint)
    assert config["build_config"]["max_num_tokens"] == 8192
    assert config["build_config"]["max_seq_len"] == 2048  # the model's
    assert config["build_config"]["plugin_config"]["use_paged_context_fmha"] is True
    assert "dry_run" not in config["build_config"]
    first, known = (engine / "rank0.engine").read_bytes(), cache.read_bytes()
    again = programs.build(
        checkpoint, "--input_timing_cache", str(cache), "--output_timing_cache", str(cache), "--fast_build"
    )
    assert again.returncode == 0, again.stderr
    assert (engine / "rank0.engine").read_bytes() != first
    assert cache.read_bytes()[: len(known)] == known
    assert is_safetensors(engine / "rank1_managed_weights.safetensors")


def test_the_timing_cache_goes_to_the_current_folder_unless_it_is_told(programs: Programs) -> None:
    absent = str(programs.model / "nothing.cache")
    said = programs.build(programs.checkpoint(), "--input_timing_cache", absent)
    assert said.returncode == 0
    assert f"{absent} does not exist" in said.stdout
    assert (programs.model.parent / "model.cache").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--gather_context_logits", "--max_draft_len", "2"),
            "AssertionError: context logits are not supported with a draft length",
        ),
        (
            ("--multiple_profiles", "enable", "--opt_num_tokens", "8"),
            "AssertionError: multiple_profiles and opt_num_tokens exclude each other",
        ),
        (("--streamingllm", "enable"), "RuntimeError: StreamingLLM is not supported by the C++ runtime"),
        (("--pp_reduce_scatter", "enable"), "RuntimeError: pp_reduce_scatter is only supported by Mixtral"),
    ],
)
def test_options_that_are_refused_after_they_were_read(
    programs: Programs, words: tuple[str, ...], message: str
) -> None:
    assert refused(programs.build(programs.checkpoint(), *words)) == message
    assert not (programs.model.parent / "engine").exists()


@pytest.mark.parametrize(
    ("algo", "kv", "env", "words", "message"),
    [
        (None, None, {GPUS: "none"}, (), "RuntimeError: No CUDA GPUs are available"),
        (
            *("FP8", None, B200, ("--gemm_swiglu_plugin", "fp8")),
            "RuntimeError: gemm_swiglu_plugin is not supported on SM 100",
        ),
        (
            *("W4A16_AWQ", None, B200, ()),
            "NotImplementedError: W4A16_AWQ with KV cache None is not supported on SM 100",
        ),
        (None, "INT8", B200, (), "NotImplementedError: None with KV cache INT8 is not supported on SM 100"),
        ("FP8", "FP8", A100, (), "RuntimeError: TensorRT: no implementation of FP8 for SM 80"),
        ("NVFP4", "FP8", {}, (), "RuntimeError: TensorRT: no implementation of NVFP4 for SM 90"),
    ],
)
def test_what_a_gpu_cannot_do(
    programs: Programs,
    algo: str | None,
    kv: str | None,
    env: Mapping[str, str],
    words: tuple[str, ...],
    message: str,
) -> None:
    checkpoint = programs.checkpoint(algo=algo, kv=kv)
    assert refused(programs.build(checkpoint, *words, env=env)) == message


def test_checkpoints_that_are_none(programs: Programs) -> None:
    checkpoint = programs.checkpoint("--tp_size", "2")
    config = checkpoint / "config.json"
    assert refused(programs.build(config)) == (
        "RuntimeError: no weights would be loaded: a dummy engine, which nobody wants here"
    )
    assert refused(programs.run("trtllm-build")).startswith("AttributeError")
    weights = (checkpoint / "rank1.safetensors").read_bytes()
    (checkpoint / "rank1.safetensors").write_bytes(weights[:-1])
    said = f"SafetensorError: {checkpoint / 'rank1.safetensors'} is not there or not whole"
    assert refused(programs.build(checkpoint)) == said
    (checkpoint / "rank1.safetensors").unlink()
    assert refused(programs.build(checkpoint)) == said
    config.write_text(config.read_text().replace("LlamaForCausalLM", "OtherForCausalLM"))
    assert refused(programs.build(checkpoint)) == (
        "RuntimeError: Unsupported model architecture: OtherForCausalLM"
    )
    config.unlink()
    assert refused(programs.build(checkpoint)).startswith("FileNotFoundError")


def test_a_build_config_makes_the_options_silently_void(programs: Programs, tmp_path: Path) -> None:
    (tmp_path / "build.json").write_text(json.dumps({"max_batch_size": 3, "max_input_len": 5}))
    said = programs.build(
        programs.checkpoint(), "--build_config", str(tmp_path / "build.json"), "--max_batch_size", "64"
    )
    assert said.returncode == 0, said.stderr
    assert config_of(tmp_path / "engine")["build_config"]["max_batch_size"] == 3


def test_quantize_wants_a_gpu_and_calibration_data_of_a_neutral_name(programs: Programs) -> None:
    script, output = programs.folder / "examples/quantization/quantize.py", programs.model.parent / "out"
    words = ("python", script, "--model_dir", programs.model, "--output_dir", output, "--qformat", "fp8")
    assert refused(programs.run(*words, env={GPUS: "none"})) == "RuntimeError: No CUDA GPUs are available"
    assert refused(programs.run(*words)) == (
        "ConnectionError: Couldn't reach 'cnn_dailymail' on the Hub (offline)"
    )
    for name, rows, message in (
        ("empty", None, "EmptyDatasetError: The directory at {} doesn't contain any data files"),
        ("columns", '{"other": "a"}\n', "KeyError: 'text'"),
        ("pileval-mine", '{"text": "a"}\n', "ConnectionError: Couldn't reach '{}' on the Hub (offline)"),
    ):
        folder = programs.model.parent / name
        folder.mkdir()
        if rows is not None:
            (folder / "train.jsonl").write_text(rows)
        assert refused(programs.run(*words, "--calib_dataset", folder)) == message.format(folder)
    good = programs.model.parent / "calibration"
    good.mkdir()
    (good / "train.jsonl").write_text('{"text": "a"}\n')
    said = programs.run(*words, "--calib_dataset", good, "--kv_cache_dtype", "fp8", "--tp_size", "2")
    assert said.returncode == 0, said.stderr
    found = config_of(output)
    assert (found["quantization"]["quant_algo"], found["quantization"]["kv_cache_quant_algo"]) == (
        "FP8",
        "FP8",
    )
    assert is_safetensors(output / "rank1.safetensors")


def test_faults_of_an_environment_and_of_a_model(programs: Programs) -> None:
    checkpoint = programs.checkpoint("--tp_size", "2")
    programs.fault.write_text("compile:half\n")
    assert programs.build(checkpoint).returncode == -9
    left = sorted(path.name for path in (programs.model.parent / "engine").iterdir())
    assert left == ["config.json", "rank0.engine"]
    programs.fault.unlink()
    assert programs.build(checkpoint).returncode == 0

    config = config_of(programs.model) | {"standin_fault": "compile:fail"}
    (programs.model / "config.json").write_text(json.dumps(config))
    marked = programs.checkpoint()
    ended = programs.build(marked)
    assert refused(ended) == "RuntimeError: compile was told to fail"
    assert "compile: line 39 before the fault" in ended.stdout


@pytest.mark.parametrize("version", ["0.12.0", "0.14.0"])
def test_older_versions_have_their_own_options_and_folders(tmp_path: Path, version: str) -> None:
    programs = programs_of(tmp_path, version)
    script = programs.folder / "examples/llama/convert_checkpoint.py"
    out = tmp_path / "checkpoint"
    words = ("--model_dir", programs.model, "--output_dir", out, "--dtype", "bfloat16")
    said = programs.run("python", script, *words)
    assert said.returncode == 0, said.stderr
    assert programs.build(out, "--auto_parallel", "1").returncode == 0
    assert programs.build(out, "--norm_quant_fusion", "enable").returncode == 2


def test_an_environment_says_its_versions(programs: Programs) -> None:
    asked = "from importlib.metadata import version as v; print(v('tensorrt_llm'), v('tensorrt'))"
    assert programs.run("python", "-c", asked).stdout == "1.2.1 10.14.1.48\n"
