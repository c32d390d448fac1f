"""What a machine needs, read from labels and from config.json."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from enginebuild.engines.tensorrt_llm.manifest import labels
from enginebuild.engines.tensorrt_llm.scripts.fitness import Needs
from enginebuild.needs import needs_of_config, needs_of_labels
from enginebuild_cache import Json
from parts.trtllm_engines import H100, manifest_for

VLLM = {
    "enginebuild.engine": "vllm",
    "enginebuild.engine.version": "0.33.0",
    "enginebuild.tensor_parallel_size": "2",
    "enginebuild.pipeline_parallel_size": "2",
}
L4 = {"enginebuild.gpu": "L4"}


@pytest.mark.parametrize(
    ("said", "env", "needs"),
    [
        (VLLM, (), Needs(False, 4, versions={"vllm": "0.33.0"})),
        (VLLM | L4, (), Needs(False, 4, "8.9", "NVIDIA L4", versions={"vllm": "0.33.0"})),
        (
            VLLM | L4,
            ("PATH=/bin", "CUDA_VERSION=13.0.2", "EMPTY"),
            Needs(False, 4, "8.9", "NVIDIA L4", "13.0.2", "580", "580.95", {"vllm": "0.33.0"}),
        ),
        (
            {"enginebuild.engine": "tensorrt_llm", "enginebuild.engine.version": "1.3.0rc22"},
            ("CUDA_VERSION=13.1.0.036",),
            Needs(False, 1, None, None, "13.1.0", "580", "590.44", {"tensorrt_llm": "1.3.0rc22"}),
        ),
        (
            VLLM | {"enginebuild.tensor_parallel_size": "many", "enginebuild.gpu": "of mine"},
            (),
            Needs(False, 2, versions={"vllm": "0.33.0"}),
        ),
        ({"enginebuild.key": "sha256:1"}, (), None),
        ({}, ("CUDA_VERSION=13.1.0",), None),
    ],
)
def test_needs_of_labels(said: Mapping[str, str], env: tuple[str, ...], needs: Needs | None) -> None:
    assert needs_of_labels(said, env) == needs


def test_labels_of_an_engine_say_all_that_its_manifest_does() -> None:
    manifest = manifest_for(2)
    said = {"enginebuild.engine": "tensorrt_llm", **labels(manifest)}
    assert needs_of_labels(said) == manifest.needs


def test_the_recipes_gpu_does_not_win_over_the_one_that_built() -> None:
    said = {
        "enginebuild.engine": "tensorrt_llm",
        **labels(manifest_for(1)),
        "enginebuild.gpu": "H200-SXM-141GB",
    }
    found = needs_of_labels(said)
    assert found is not None
    assert found.gpu == H100


@pytest.mark.parametrize(
    ("config", "size"),
    [
        ({"version": "0.16.0", "pretrained_config": {"mapping": {"world_size": 4}}}, 4),
        ({"version": "0.16.0", "pretrained_config": {}}, 1),
        ({"version": "0.16.0", "pretrained_config": {"mapping": {"world_size": "?"}}}, 1),
    ],
)
def test_needs_of_an_old_engine(config: Mapping[str, Json], size: int) -> None:
    assert needs_of_config(config) == Needs(True, size, versions={"tensorrt_llm": "0.16.0"})


@pytest.mark.parametrize("config", [{}, {"version": "0.16.0"}, {"pretrained_config": {}}])
def test_another_config_is_none_of_an_engine(config: Mapping[str, Json]) -> None:
    with pytest.raises(ValueError) as refused:
        needs_of_config(config)
    assert str(refused.value) == "it has no version or no pretrained_config"
