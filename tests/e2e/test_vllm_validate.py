"""The step `validate` with real vLLM 0.32.0 on the CPU: an image is made only if vLLM reads it as meant."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from enginebuild.engines.vllm import VllmSettings, render
from enginebuild.engines.vllm.validation import request, scripts
from enginebuild_cache import Json, Store
from parts import services
from parts.busybox_base import BusyboxBase
from parts.cli import enginebuild
from parts.recipes import QUICKSTART_MODEL
from parts.vllm_base import write_vllm_base
from parts.vllm_cpu import VERSION, vllm_cpu, vllm_python_parts

pytestmark = [pytest.mark.vllm, pytest.mark.slow]


@pytest.fixture(scope="module")
def environment() -> Path:
    return vllm_cpu().folder / "venv"


def recipe(folder: Path, base: str, environment: Path, args: str, *, gate: bool = True) -> Path:
    path = folder / "tiny.yaml"
    path.write_text(
        f"version: 1\nname: tiny\nmodel: file:{QUICKSTART_MODEL}\ndtype: float32\n"
        f"engine:\n  type: vllm\n  version: {VERSION}\n  validate: {str(gate).lower()}\n"
        f"  args: {args}\n"
        f"builder: {{runner: local, environment: {environment}}}\nimage:\n  base: {base}\n"
    )
    return path


def validations(cache: Path) -> list[dict[str, Any]]:
    """The documents that the step left in a store."""
    store = Store.open(cache)
    found = [record.tree for record in store.records() if record.step == "validate"]
    return [json.loads(store.read_bytes(tree.file("validation.json"))) for tree in found]


def test_a_run_asks_vllm_first_and_another_machine_is_told_the_same(
    tmp_path: Path, environment: Path, base_layout: BusyboxBase
) -> None:
    """The gate of a build, and the same question without a build: equal bytes in two stores."""
    args = "{enable_prefix_caching: false, max_model_len: 1K, enforce_eager: true}"
    path = recipe(tmp_path, f"oci:{base_layout.layout}", environment, args)
    built = enginebuild("run", path, "--json", "--cache-dir", tmp_path / "one").ok()
    assert list(built.statuses) == ["fetch", "configure", "metadata", "validate", "image", "publish"]
    assert built.statuses["validate"] == "built"
    path = recipe(tmp_path, f"oci:{base_layout.layout}", environment, args, gate=False)
    asked = enginebuild("check", path, "--in-engine", "--cache-dir", tmp_path / "two").ok()
    assert asked.stdout == (
        f"{path}: ok (vllm 0.32.0, locked)\n"
        "vLLM 0.32.0 reads it as it was meant (parser, config, render), 42 token ids rendered\n"
    )
    (one,), (two,) = validations(tmp_path / "one"), validations(tmp_path / "two")
    assert one == two
    effective = one["rungs"]["config"]["arguments"]
    wanted = {
        "dtype": "float32",
        "enable_prefix_caching": False,
        "max_model_len": 1024,
        "enforce_eager": True,
    }
    assert {name: effective[name] for name in wanted} == wanted
    rendered = one["rungs"]["render"]
    assert rendered["text"] == (
        "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n"
        "<|im_start|>assistant\nParis.<|im_end|>\n"
        "<|im_start|>user\nAnd of Italy?<|im_end|>\n<|im_start|>assistant\n"
    )
    # Golden: the tokenizer of tests/parts/tiny_llama.py.
    assert rendered["token_ids"] == [
        *(1, 863, 201, 57, 276, 291, 262, 533, 297, 520, 33, 2, 201, 1, 67, 85, 833, 201, 590, 16, 2, 201),
        *(1, 863, 201, 35, 80, 70, 297, 223, 43, 86, 345, 91, 33, 2, 201, 1, 67, 85, 833, 201),
    ]


def test_a_chat_template_that_loses_the_question_is_refused(
    tmp_path: Path, environment: Path, base_layout: BusyboxBase
) -> None:
    """And nothing of the model's weights is fetched, no image made."""
    template = '"{{ messages[0].content }}"'
    args = f"{{chat_template: {template}, max_model_len: 256}}"
    path = recipe(tmp_path, f"oci:{base_layout.layout}", environment, args)
    refused = enginebuild("run", path, "--json", "--cache-dir", tmp_path / "cache")
    assert refused.code == 6
    said = refused.result["message"]
    assert said.partition("\nthe last lines of its log:")[0] == (
        f"{path}:9:25: vLLM refuses it (render): the chat template loses what a user says: "
        "'And of Italy?' became 'What is the capital of France?'\n"
        f"    args: {args}\n"
        "                          ^\n"
        "  hint: a server with this configuration could not answer a chat request"
    )
    assert refused.result["hint"].splitlines()[0] == "a run asks vLLM only with engine.validate: true"
    assert {record.step for record in Store.open(tmp_path / "cache").records()} == {"configure", "metadata"}


def test_a_build_for_gpus_answers_without_one(tmp_path: Path) -> None:
    """vLLM's own wheel of another version, told to take its CPU platform; its render server lacks a package
    here.
    """
    args: dict[str, Json] = {"enable_prefix_caching": False, "async_scheduling": True, "max_model_len": "1K"}
    settings = VllmSettings("0.33.0", "org/m", "sha256:ab", dtype="float16", args=args)
    for name, content in scripts(request(settings)).items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "vllm.yaml").write_bytes(render(settings))
    installed = vllm_cpu()
    words = [tmp_path / "request.json", QUICKSTART_MODEL, tmp_path / "vllm.yaml", tmp_path / "out.json"]
    ended = subprocess.run(
        [installed.python, tmp_path / "validate.py", *words],
        capture_output=True,
        env=installed.environment(PYTHONPATH=str(vllm_python_parts("0.33.0"))),
        cwd=tmp_path,
        timeout=240,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr.decode()[-3000:]
    document = json.loads((tmp_path / "out.json").read_text())
    assert "refused" not in document
    assert document["vllm"] == "0.33.0"
    config = document["rungs"]["config"]
    assert config["platform"] == "cpu, standing in for a GPU"
    assert config["arguments"]["enable_prefix_caching"] is False
    assert config["arguments"]["max_model_len"] == 1024
    # What the CPU decides for itself is told, and is no contradiction.
    assert (config["differs"], config["contradicts"]) == (["async_scheduling"], [])
    assert document["rungs"]["render"] == {
        "left_out": "its render server does not start: ModuleNotFoundError: No module named 'orjson'"
    }


@pytest.mark.docker
def test_the_base_image_is_asked_in_a_container(tmp_path: Path, registry: str, skopeo: Path) -> None:
    """By the digest that the registry has, without a network and without a GPU."""
    layout = write_vllm_base(tmp_path / "base", vllm_cpu(), services.program("busybox"))
    base = f"{registry}/vllm/cpu:1"
    copy = ["copy", "--insecure-policy", "--quiet", "--dest-tls-verify=false"]
    subprocess.run([skopeo, *copy, f"oci:{layout}:latest", f"docker://{base}"], check=True)
    engine = services.own_engine("docker-mounting", mounting=True)
    path = tmp_path / "tiny.yaml"
    path.write_text(
        f"version: 1\nname: tiny\nmodel: file:{QUICKSTART_MODEL}\ntensor_parallel_size: 2\n"
        f"engine: {{type: vllm, version: {VERSION}, args: {{max_model_len: 256}}}}\n"
        f"image: {{base: '{base}'}}\n"
    )
    words = ("check", path, "--in-engine", "--cache-dir", tmp_path / "cache")
    asked = enginebuild(*words, env={"DOCKER_HOST": engine.host}).ok()
    assert asked.stdout == (
        f"{path}: ok (vllm 0.32.0, not locked)\n"
        "vLLM 0.32.0 reads it as it was meant (parser, config, render), 42 token ids rendered\n"
    )
    (made,) = [record for record in Store.open(tmp_path / "cache").records() if record.step == "validate"]
    assert str(made.fields["environment"]).startswith("sha256:")
