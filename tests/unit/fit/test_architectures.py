"""Which engine has which class, by the registries of the versions."""

from __future__ import annotations

import pytest

from enginebuild.engines.tensorrt_llm.architectures import unserved as unserved_by_tensorrt_llm
from enginebuild.engines.unserved import Unserved
from enginebuild.engines.vllm.architectures import registry, unserved
from enginebuild.engines.vllm.table import VERSIONS
from parts.fits import L8, fitted, written
from parts.published_models import published


def test_every_version_has_a_registry_and_says_where_it_is_from() -> None:
    for version in VERSIONS:
        assert version in registry(version).source
        assert len(registry(version).served) > 380
        assert registry(version).served.isdisjoint(registry(version).transformers)
    with pytest.raises(KeyError, match="0\\.1\\.0"):
        registry("0.1.0")


@pytest.mark.parametrize("version", VERSIONS)
def test_published_models_are_served(version: str) -> None:
    """Those that need no engine of their own."""
    lost = [
        name
        for name, entry in published().items()
        if unserved(version, tuple(entry["config"].get("architectures", ()))) is not None
    ]
    assert lost == []


@pytest.mark.parametrize(
    ("classes", "asked", "expected"),
    [
        ((), {}, None),
        (("LlamaForCausalLM",), {}, None),
        (("Unknown", "LlamaForCausalLM"), {}, None),
        # A classifier is made of the language model.
        (("Qwen2ForSequenceClassification",), {}, None),
        # Outside the registry, taken by the Transformers backend, unless that is forbidden.
        (("HeliumForCausalLM",), {}, None),
        (
            ("HeliumForCausalLM",),
            {"implementation": "vllm"},
            Unserved(
                "vLLM 0.33.0 has no HeliumForCausalLM, and neither has transformers 5.19.0 for its "
                "Transformers backend",
                "write an image.base that has it: by a plugin of vLLM's, or in a newer transformers",
                plugged=True,
            ),
        ),
        (("AnythingForCausalLM",), {"implementation": "terratorch"}, None),
        (
            ("QWenLMHeadModel",),
            {},
            Unserved("vLLM 0.33.0 has no QWenLMHeadModel: 0.23.0 was the last that had"),
        ),
        (
            ("MBartForConditionalGeneration",),
            {},
            Unserved(
                "vLLM 0.33.0 has no MBartForConditionalGeneration: it is in vllm-project/bart-plugin",
                "write an image.base that has vllm-project/bart-plugin: vLLM's own has it not",
                plugged=True,
            ),
        ),
        (
            ("T5ForConditionalGeneration",),
            {},
            Unserved(
                "vLLM 0.33.0 has no T5ForConditionalGeneration, and its Transformers backend does not take "
                "it (transformers 5.19.0)"
            ),
        ),
        (
            ("MyOwnForCausalLM",),
            {"remote_code": True},
            Unserved(
                "vLLM 0.33.0 has no MyOwnForCausalLM; its Transformers backend may take the model's own code",
                certain=False,
            ),
        ),
        (
            ("SomethingElse",),
            {},
            Unserved(
                "vLLM 0.33.0 has no SomethingElse, and neither has transformers 5.19.0 for its Transformers "
                "backend",
                "write an image.base that has it: by a plugin of vLLM's, or in a newer transformers",
                certain=False,
                plugged=True,
            ),
        ),
    ],
)
def test_vllm(classes: tuple[str, ...], asked: dict[str, object], expected: Unserved | None) -> None:
    implementation = str(asked.get("implementation", "auto"))
    remote_code = bool(asked.get("remote_code"))
    found = unserved("0.33.0", classes, implementation=implementation, remote_code=remote_code)
    assert found == expected


def test_a_class_that_came_with_the_next_version() -> None:
    found = unserved("0.32.0", ("FlintForCausalLM",))
    assert found == Unserved("vLLM 0.32.0 has no FlintForCausalLM, and 0.33.0 has", version="0.33.0")
    assert unserved("0.33.0", ("FlintForCausalLM",)) is None


@pytest.mark.parametrize(
    ("version", "name", "expected"),
    [
        ("1.2.1", "LlamaForCausalLM", None),
        ("1.2.1", "Qwen3MoeForCausalLM", None),
        (
            "1.0.0",
            "Gemma4ForConditionalGeneration",
            Unserved(
                "TensorRT-LLM 1.0.0 has no Gemma4ForConditionalGeneration in mode pytorch: its documentation "
                "names it from 1.3.0rc20 on",
                version="1.3.0rc20",
            ),
        ),
        (
            "1.2.1",
            "Gemma4ForConditionalGeneration",
            Unserved(
                "TensorRT-LLM 1.2.1 is not known to have Gemma4ForConditionalGeneration in mode pytorch: its "
                "documentation names it from 1.3.0rc20 on",
                certain=False,
                version="1.3.0rc20",
            ),
        ),
        ("1.3.0rc20", "Gemma4ForConditionalGeneration", None),
        (
            "1.2.1",
            "GraniteForCausalLM",
            Unserved(
                "TensorRT-LLM's PyTorch backend has no GraniteForCausalLM: AutoDeploy has, which is another "
                "backend"
            ),
        ),
        (
            "1.2.1",
            "Gemma2ForCausalLM",
            Unserved("TensorRT-LLM's PyTorch backend has no Gemma2ForCausalLM, in any version that is known"),
        ),
        (
            "1.4.0rc1",
            "Gemma2ForCausalLM",
            Unserved(
                "TensorRT-LLM's PyTorch backend has no Gemma2ForCausalLM, in any version that is known",
                certain=False,
            ),
        ),
    ],
)
def test_tensorrt_llm(version: str, name: str, expected: Unserved | None) -> None:
    assert unserved_by_tensorrt_llm(version, (name,)) == expected


def test_the_other_version_comes_with_its_image(tmp_path_factory: pytest.TempPathFactory) -> None:
    overrides = ["engine.version=0.32.0", "image.base=docker.io/vllm/vllm-openai:v0.32.0"]
    recipe = written(tmp_path_factory.mktemp("recipe"), "vllm", overrides)
    (finding,) = fitted(recipe, L8, architectures=["FlintForCausalLM"]).refusals
    assert finding.advice() == "write version: 0.33.0 with base: docker.io/vllm/vllm-openai:v0.33.0"


def test_another_engine_is_named_where_one_has_it(tmp_path_factory: pytest.TempPathFactory) -> None:
    recipe = written(tmp_path_factory.mktemp("recipe"), "pytorch")
    (finding,) = fitted(recipe, "google/gemma-2-9b-it").refusals
    assert finding.advice() == "write engine: {type: vllm, version: 0.33.0}, and its image.base"
    recipe = written(tmp_path_factory.mktemp("recipe"), "vllm")
    (finding,) = fitted(recipe, L8, architectures=["QWenLMHeadModel"]).refusals
    assert finding.advice() == (
        "write engine: {type: tensorrt_llm, version: 1.2.1, mode: engine}, and its image.base"
    )
