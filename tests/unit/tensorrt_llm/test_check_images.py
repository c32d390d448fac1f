"""check: bases, builders and servers that hold another TensorRT-LLM, or none."""

from __future__ import annotations

import pytest

from enginebuild.engines.tensorrt_llm.check import check
from enginebuild.engines.tensorrt_llm.versions import releases
from enginebuild.errors import Problem
from enginebuild_cache import Json
from parts.trtllm_values import triton, values, without

_TRITON = "nvcr.io/nvidia/tritonserver"
_RELEASE = "nvcr.io/nvidia/tensorrt-llm/release"
_NEWEST = f"write {_TRITON}:26.07-trtllm-python-py3"


def _base(base: Json, server: str = "trtllm-serve", version: str = "1.2.1", **fields: Json) -> list[Problem]:
    engine: dict[str, Json] = {"version": version, "server": server}
    return check(values(engine, image={"base": base, "layout": "server"}, **fields))


@pytest.mark.parametrize(
    "base",
    [
        f"{_RELEASE}:1.2.1",
        f"{_RELEASE}:1.2.1@sha256:{'0' * 64}",
        f"{_RELEASE}@sha256:{'0' * 64}",
        "registry.example.com/mirror/tensorrt-llm/release:1.2.1",
        "registry.example.com/ours/trtllm:7",
        "registry.example.com/not-tensorrt-llm/release:1",
        "scratch",
        "oci:./base",
    ],
)
def test_a_base_for_the_server(base: str) -> None:
    assert _base(base) == []


@pytest.mark.parametrize("tag", ["26.04", "26.07"])
@pytest.mark.parametrize("host", ["nvcr.io/nvidia/", "registry.example.com/", ""])
def test_a_base_for_triton(tag: str, host: str) -> None:
    assert _base(f"{host}tritonserver:{tag}-trtllm-python-py3", "triton") == []
    assert _base(f"{host}tritonserver@sha256:{'0' * 64}", "triton") == []


def test_every_triton_release_is_a_base_for_its_version() -> None:
    for version, known in releases().items():
        for tag in known.triton_tags:
            build: dict[str, Json] = {"build": {}}
            gpu = "A100-SXM-80GB"
            assert check(triton(version, tag, build, gpu=gpu)) == [], tag


@pytest.mark.parametrize(
    ("base", "server", "message", "hint"),
    [
        (
            f"{_RELEASE}:1.2.0",
            "trtllm-serve",
            "holds TensorRT-LLM 1.2.0, and engine.version is 1.2.1",
            "write nvcr.io/nvidia/tensorrt-llm/release:1.2.1, or version: 1.2.0",
        ),
        (
            f"{_RELEASE}:1.2.0@sha256:{'0' * 64}",
            "trtllm-serve",
            "holds TensorRT-LLM 1.2.0, and engine.version is 1.2.1",
            "write nvcr.io/nvidia/tensorrt-llm/release:1.2.1, or version: 1.2.0",
        ),
        (
            f"{_RELEASE}:1.2.1",
            "triton",
            "has no Triton, and engine.server is triton",
            _NEWEST,
        ),
        (
            f"{_TRITON}:26.07-trtllm-python-py3",
            "trtllm-serve",
            "is Triton's, and engine.server is trtllm-serve",
            f"write server: triton, or image.base {_RELEASE}:1.2.1",
        ),
        (
            f"{_TRITON}:26.03-trtllm-python-py3",
            "triton",
            "holds TensorRT-LLM 1.2.0, and engine.version is 1.2.1",
            f"{_NEWEST}, or version: 1.2.0",
        ),
        (
            f"{_TRITON}:26.09-trtllm-python-py3",
            "triton",
            "is Triton 26.09, whose TensorRT-LLM is not known",
            _NEWEST,
        ),
        (
            f"{_TRITON}:26.08-vllm-python-py3",
            "triton",
            (
                "has the tag 26.08-vllm-python-py3, and Triton's images with TensorRT-LLM end in "
                "-trtllm-python-py3"
            ),
            _NEWEST,
        ),
        (
            f"{_TRITON}:26.07-py3",
            "triton",
            "has the tag 26.07-py3, and Triton's images with TensorRT-LLM end in -trtllm-python-py3",
            _NEWEST,
        ),
        (
            "docker.io/vllm/vllm-openai:v0.33.0",
            "trtllm-serve",
            "is vLLM's, and engine.type is tensorrt_llm",
            f"write {_RELEASE}:1.2.1",
        ),
        (
            "vllm/vllm-openai-cpu:v0.33.0",
            "triton",
            "is vLLM's, and engine.type is tensorrt_llm",
            f"{_NEWEST}",
        ),
    ],
)
def test_a_base_that_does_not_fit(base: str, server: str, message: str, hint: str) -> None:
    assert _base(base, server) == [Problem(("image", "base"), f"image.base {message}", hint)]


def test_a_base_is_not_looked_at_for_an_image_without_a_server() -> None:
    for layout in ("model", "modelpack"):
        assert check(values({"version": "1.2.1"}, image={"base": None, "layout": layout})) == []
        assert check(values({"version": "0.12.0"}, image={"base": None, "layout": layout})) == []


def test_what_was_mistaken_is_not_looked_at() -> None:
    recipe = without(values({"server": "triton"}), "server")
    assert check({**recipe, "image": {"layout": "server"}}) == []
    assert check({**recipe, "image": {"base": f"{_TRITON}:26.07-trtllm-python-py3"}}) == []
    assert [p.message for p in check({**recipe, "image": {"base": f"{_RELEASE}:1.2.0"}})] == [
        "image.base holds TensorRT-LLM 1.2.0, and engine.version is 1.2.1"
    ]


@pytest.mark.parametrize("version", ["1.3.0rc0", "1.3.0rc22", "1.4.0rc1"])
def test_a_version_that_no_triton_has(version: str) -> None:
    expected = Problem(
        ("engine", "server"),
        f"no Triton image has TensorRT-LLM {version}",
        "write server: trtllm-serve; Triton has 0.12.0 to 1.2.1",
    )
    engine: dict[str, Json] = {"version": version, "server": "triton", "build": None}
    base: Json = {"base": f"{_RELEASE}:{version}", "layout": "server"}
    assert check(values(engine, image=base)) == [expected]


@pytest.mark.parametrize(("version", "tag"), [("0.12.0", "24.08"), ("0.15.0", "24.11")])
def test_a_version_without_trtllm_serve(version: str, tag: str) -> None:
    expected = Problem(
        ("engine", "server"),
        f"TensorRT-LLM {version} is not known to have trtllm-serve, which came with 0.16.0",
        f"write server: triton, and image.base {_TRITON}:{tag}-trtllm-python-py3",
    )
    assert check(values({"version": version, "runtime": {"max_batch_size": 9}})) == [expected]
    assert check(values({"version": "0.16.0"})) == []


def _builder(builder: Json, version: str = "1.2.1", build: Json = None) -> list[Problem]:
    return check(values({"version": version, "build": {} if build is None else None}, builder=builder))


def test_a_builder_of_another_version() -> None:
    expected = Problem(
        ("builder", "image"),
        "builder.image holds TensorRT-LLM 1.2.0, and engine.version is 1.2.1",
        "write nvcr.io/nvidia/tensorrt-llm/release:1.2.1, or version: 1.2.0",
    )
    other: Json = {"image": f"{_RELEASE}:1.2.0"}
    assert _builder(other) == [expected]
    assert _builder({"image": f"{_RELEASE}:1.2.1"}) == []
    assert _builder({"image": f"{_TRITON}:26.07-trtllm-python-py3"}) == []
    assert _builder({"image": "registry.example.com/ours:1"}) == []
    # In mode pytorch it quantizes, and compiles nothing.
    assert _builder(other, build=False) == []


def test_a_builder_without_tensorrt_llm() -> None:
    expected = Problem(
        ("builder", "image"),
        "builder.image is vLLM's, and engine.type is tensorrt_llm",
        f"write {_RELEASE}:1.2.1",
    )
    assert _builder({"image": "docker.io/vllm/vllm-openai:v0.33.0"}) == [expected]


def test_a_timing_cache_that_nothing_reads() -> None:
    expected = Problem(
        ("builder", "timing_cache"),
        "builder.timing_cache is for trtllm-build, which mode pytorch does not run",
        "remove the line",
        on_key=True,
    )
    assert _builder({"timing_cache": "file:./model.cache"}, build=False) == [expected]
    assert _builder({"timing_cache": "file:./model.cache"}) == []


def test_a_version_without_an_image_to_build_in() -> None:
    expected = Problem(
        ("engine", "version"),
        "TensorRT-LLM 1.3.0rc18 is published as source alone, without an image to build in",
        "write builder: {image: …} with one of your own, or version: 1.2.1",
    )
    assert _builder(None, "1.3.0rc18") == [expected]
    assert _builder({"gpus": 1}, "1.3.0rc18") == [expected]
    assert _builder({"image": "registry.example.com/ours:1"}, "1.3.0rc18") == []
    assert _builder({"environment": "/opt/trtllm"}, "1.3.0rc18") == []
    assert _builder(None, "1.3.0rc15") == []
    assert _builder(None, "1.3.0rc18", build=False) == []
