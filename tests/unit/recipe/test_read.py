"""Sound recipes: what they read as, their defaults, their short forms; and files that are no recipes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from enginebuild.errors import Problem, RecipeError
from enginebuild.recipe import (
    Builder,
    Engine,
    ImageTarget,
    Model,
    Recipe,
    parse,
    read,
)
from enginebuild_cache import Digest, Json

SMALLEST = b"""\
version: 1
name: tiny
model: hf://org/tiny
engine: {type: vllm, version: 0.33.0}
image: {base: scratch}
"""

FULL = b"""\
version: 1
name: llama-3.1-8b
model:
  source: hf://meta-llama/Llama-3.1-8B-Instruct
  revision: refs/pr/7
  auth: MY_TOKEN
  allow_patterns: ["*.safetensors", "*.json"]
  ignore_patterns: [original/*]
  allow_pickle: true
dtype: bfloat16
quantization: none
tensor_parallel_size: 2
pipeline_parallel_size: 3
gpu: H100-SXM-80GB
engine:
  type: vllm
  version: "0.33.0"
  args:
    max_model_len: 8192
    gpu_memory_utilization: 0.9
    enable_prefix_caching: false
    served_model_name: [a, b]
    hf_overrides: {rope_scaling: {factor: 2.0}}
image:
  base: docker.io/vllm/vllm-openai:v0.33.0
  repository: registry.example.com:5000/llm/llama-3.1-8b
  tags: ["fp8-{key}", "{name}_{version}_{commit}"]
  labels: {org.opencontainers.image.vendor: Example}
  platform: linux/arm64
  compression: auto
"""


def with_model(model: str) -> Recipe:
    return parse(SMALLEST.replace(b"hf://org/tiny", model.encode()), "r.yaml")


def with_base(base: str) -> Recipe:
    return parse(SMALLEST.replace(b"scratch", base.encode()), "r.yaml")


def test_defaults() -> None:
    recipe = parse(SMALLEST, "r.yaml")
    assert recipe.model == Model("hf://org/tiny", None, "HF_TOKEN", (), (), False)
    assert (recipe.name, recipe.dtype, recipe.quantization, recipe.gpu) == ("tiny", "auto", None, None)
    assert (recipe.tensor_parallel_size, recipe.pipeline_parallel_size) == (1, 1)
    assert recipe.engine == Engine("vllm", "0.33.0", {}, None, None, {}, "trtllm-serve")
    assert recipe.builder == Builder("docker", None, None, 1, 43200.0, None, 16_000_000_000, None)
    assert recipe.image == ImageTarget("scratch", None, ("{key}",), {}, "linux/amd64", "none")


def test_every_field() -> None:
    recipe = parse(FULL, "r.yaml")
    assert recipe.model == Model(
        "hf://meta-llama/Llama-3.1-8B-Instruct",
        "refs/pr/7",
        "MY_TOKEN",
        ("*.safetensors", "*.json"),
        ("original/*",),
        True,
    )
    assert (recipe.dtype, recipe.quantization, recipe.gpu) == ("bfloat16", None, "H100-SXM-80GB")
    assert (recipe.tensor_parallel_size, recipe.pipeline_parallel_size) == (2, 3)
    assert recipe.engine.args == {
        "max_model_len": 8192,
        "gpu_memory_utilization": 0.9,
        "enable_prefix_caching": False,
        "served_model_name": ["a", "b"],
        "hf_overrides": {"rope_scaling": {"factor": 2.0}},
    }
    assert recipe.image == ImageTarget(
        "docker.io/vllm/vllm-openai:v0.33.0",
        "registry.example.com:5000/llm/llama-3.1-8b",
        ("fp8-{key}", "{name}_{version}_{commit}"),
        {"org.opencontainers.image.vendor": "Example"},
        "linux/arm64",
        "auto",
    )


@pytest.mark.parametrize(
    ("written", "source", "revision"),
    [
        ("hf://org/tiny", "hf://org/tiny", None),
        ("hf:org/tiny", "hf://org/tiny", None),
        ("hf://org/tiny@main", "hf://org/tiny", "main"),
        ("hf://org/tiny@refs/pr/1", "hf://org/tiny", "refs/pr/1"),
        ("hf://Qwen/Qwen2.5-0.5B_x", "hf://Qwen/Qwen2.5-0.5B_x", None),
        ("file:./models/tiny@2", "file:./models/tiny@2", None),
        ("file:../tiny", "file:../tiny", None),
        ("file:tiny", "file:tiny", None),
        ("file:/models/tiny", "file:/models/tiny", None),
        ("file:///models/tiny", "file:///models/tiny", None),
        ("{source: hf://org/tiny@v1}", "hf://org/tiny", "v1"),
        ("{source: hf://org/tiny, revision: v1}", "hf://org/tiny", "v1"),
    ],
)
def test_model_sources(written: str, source: str, revision: str | None) -> None:
    model = with_model(written).model
    assert (model.source, model.revision) == (source, revision)


@pytest.mark.parametrize(
    "base",
    [
        "scratch",
        "oci:./layout",
        "oci:/layouts/vllm:v0.33.0",
        "busybox:1.36",
        "localhost:5000/vllm:v0.33.0",
        "docker.io/vllm/vllm-openai:v0.33.0-cu129",
        "docker.io/vllm/vllm-openai@sha256:" + "0a" * 32,
        "docker.io/vllm/vllm-openai:v0.33.0@sha256:" + "0a" * 32,
        "registry.example.com/vllm/vllm-openai-rocm:v0.32.0",
        "'[::1]:5000/vllm:v0.33.0'",
    ],
)
def test_bases(base: str) -> None:
    assert with_base(base).image.base == base.strip("'")


@pytest.mark.parametrize("layout", ["model", "modelpack"])
def test_an_image_of_the_model_alone_needs_no_base(layout: str) -> None:
    bare = SMALLEST.replace(b"{base: scratch}", b"{layout: %s}" % layout.encode())
    given = SMALLEST.replace(b"{base: scratch}", b"{base: scratch, layout: %s}" % layout.encode())
    assert parse(bare, "r.yaml") == parse(given, "r.yaml")
    image = parse(bare, "r.yaml").image
    assert (image.base, image.layout) == ("scratch", layout)


def test_equal_recipes_in_different_spelling_are_equal() -> None:
    spelled = b"""\
# the same in other words
image:
    base: "scratch"
engine:
    version: '0.33.0'
    type: vllm
name: tiny
version: 1
model:
    source: hf:org/tiny
"""
    assert parse(spelled, "a.yaml") == parse(SMALLEST, "b.yaml")


def test_mistakes_of_engine_arguments_are_shown_with_the_others(tmp_path: Path) -> None:
    def check(values: Mapping[str, Json]) -> list[Problem]:
        engine = values["engine"]
        assert isinstance(engine, dict)
        args = engine["args"]
        assert engine["version"] == "0.33.0"
        assert isinstance(args, dict)
        return [Problem(("engine", "args", name), f"no argument {name}", on_key=True) for name in args]

    file = tmp_path / "r.yaml"
    file.write_bytes(SMALLEST.replace(b"0.33.0", b"0.33.0, args: {sed: 1}") + b"tp: 2\n")
    with pytest.raises(RecipeError) as caught:
        read(file, (), check)
    assert caught.value.message == (
        f"{file}:4:46: no argument sed\n"
        "  engine: {type: vllm, version: 0.33.0, args: {sed: 1}}\n"
        "                                               ^\n\n"
        f"{file}:6:1: unknown key 'tp'\n  tp: 2\n  ^\n  hint: write tensor_parallel_size\n\n2 mistakes"
    )


@pytest.mark.parametrize("engine", ["{type: vllm}", "{type: vlm, version: 0.33.0}", "vllm"])
def test_an_unknown_engine_is_not_checked(tmp_path: Path, engine: str) -> None:
    def check(values: Mapping[str, Json]) -> list[Problem]:
        raise AssertionError(f"checked {values}")

    file = tmp_path / "r.yaml"
    file.write_bytes(SMALLEST.replace(b"{type: vllm, version: 0.33.0}", engine.encode()))
    with pytest.raises(RecipeError):
        read(file, (), check)


def test_a_place_with_a_mistake_is_not_given_a_second(tmp_path: Path) -> None:
    def check(_values: Mapping[str, Json]) -> list[Problem]:
        return [
            Problem(("engine", "mode"), "the same place"),
            Problem(("engine", "mode", "x"), "within it"),
            Problem(("engine",), "around it"),
        ]

    file = tmp_path / "r.yaml"
    file.write_bytes(SMALLEST.replace(b"0.33.0", b"0.33.0, mode: engine"))
    with pytest.raises(RecipeError) as caught:
        read(file, (), check)
    assert caught.value.message == (
        f"{file}:4:9: around it\n"
        "  engine: {type: vllm, version: 0.33.0, mode: engine}\n"
        "          ^\n\n"
        f"{file}:4:39: engine.mode is TensorRT-LLM's alone\n"
        "  engine: {type: vllm, version: 0.33.0, mode: engine}\n"
        "                                        ^\n"
        "  hint: delete it; vLLM's arguments are engine.args\n\n"
        "2 mistakes"
    )


def test_tags_are_filled_in() -> None:
    key, commit = Digest("0123456789abcdef" * 4), "fedcba9876543210" * 2
    assert parse(FULL, "r.yaml").tags(key, commit) == (
        "fp8-0123456789ab",
        "llama-3.1-8b_0.33.0_fedcba987654",
    )
    assert parse(SMALLEST, "r.yaml").tags(key, None) == ("0123456789ab",)


def test_relative_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_bytes(SMALLEST)
    assert read(file).folder == tmp_path
    assert read(file).path == file
    assert parse(SMALLEST, "r.yaml").folder == Path()


@pytest.mark.parametrize("change", [b"\xef\xbb\xbf", b"---\n", b"# comment\n\n"])
def test_what_may_stand_before_a_recipe(change: bytes) -> None:
    assert parse(change + SMALLEST, "r.yaml") == parse(SMALLEST, "r.yaml")


@pytest.mark.parametrize("line_end", [b"\r\n", b"\r"])
def test_line_ends_of_other_systems(line_end: bytes) -> None:
    assert parse(SMALLEST.replace(b"\n", line_end), "r.yaml") == parse(SMALLEST, "r.yaml")


def refusal(path: Path) -> tuple[str, str]:
    with pytest.raises(RecipeError) as caught:
        read(path)
    return caught.value.message, caught.value.hint


def test_file_that_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    assert refusal(path) == (f"{path}: no such file", "check the path; examples are in recipes/")


def test_file_that_is_a_folder(tmp_path: Path) -> None:
    assert refusal(tmp_path) == (f"{tmp_path}: a folder, not a recipe", "name the file in it")


def test_file_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    assert refusal(path) == (f"{path}: not a regular file", "save the recipe in a file and name that")


def test_file_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_bytes(SMALLEST)
    path = tmp_path / "r.yaml" / "more.yaml"
    assert refusal(path) == (f"{path}: cannot be read: Not a directory", "")


def test_file_that_links_to_itself(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.symlink_to(path)
    assert refusal(path) == (f"{path}: cannot be read: Too many levels of symbolic links", "")


def test_name_that_no_file_has() -> None:
    assert refusal(Path("a\0b")) == ("a\N{REPLACEMENT CHARACTER}b: not the name of a file", "")


def test_file_of_50_mb_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with path.open("wb") as file:
        file.truncate(50_000_000)
    assert refusal(path) == (
        f"{path}: 50,000,000 bytes, a recipe has 1,048,576 at most",
        "is this the model or an image instead of the recipe?",
    )


def test_bytes_of_50_mb_are_not_parsed() -> None:
    with pytest.raises(RecipeError) as caught:
        parse(b"a" * 50_000_000, "r.yaml")
    assert caught.value.message == "r.yaml: 50,000,000 bytes, a recipe has 1,048,576 at most"
