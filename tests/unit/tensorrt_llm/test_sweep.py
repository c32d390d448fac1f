"""Thousands of recipes: what the check accepts becomes commands and files that the parsers take, and what is
known to fail later does not pass the check.

The parsers are made of the shipped tables and, where the facts are, of what the real ones said of themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import PurePosixPath
from typing import Any, cast

import pytest
import yaml

from enginebuild.engines.tensorrt_llm.check import check
from enginebuild.engines.tensorrt_llm.compile import compile_command, workers
from enginebuild.engines.tensorrt_llm.convert import certainty, convert_command
from enginebuild.engines.tensorrt_llm.families import family_of
from enginebuild.engines.tensorrt_llm.quantize import quantize_command
from enginebuild.engines.tensorrt_llm.serve import entrypoint, serve_yaml
from enginebuild.engines.tensorrt_llm.settings import Settings, dtype_of
from enginebuild.engines.tensorrt_llm.table import Option, keys, options
from enginebuild.engines.tensorrt_llm.triton import model_yaml, repository_values
from enginebuild.engines.tensorrt_llm.versions import Mode, release, release_image, releases
from enginebuild.errors import RefusedError
from enginebuild.recipe.gpu import catalogue
from enginebuild.recipe.methods import METHODS, SUPPORTED, default_tool
from enginebuild.recipe.model import Calibration, Quantization, Server
from enginebuild_cache import Json
from parts import services
from parts.trtllm_parsers_standin import facts, parse, parse_family, unknown_keys

MODEL, OUTPUT = PurePosixPath("/enginebuild/input/fetch"), PurePosixPath("/enginebuild/output")
TEXTS = PurePosixPath("/enginebuild/input/calibration")
CALIBRATION = Calibration("file:texts", None, num_samples=64, max_seq_length=512, batch_size=1, seed=1)

ENGINE_VERSIONS = [version for version, known in releases().items() if "engine" in known.modes]
PYTORCH_VERSIONS = [version for version, known in releases().items() if "pytorch" in known.modes]
#: One of each option table or pair of tables, and the ends of the row.
TABLES = ["0.12.0", "0.13.0", "0.14.0", "0.15.0", "0.16.0", "0.17.0", "0.18.0", "1.1.0", "1.2.1", "1.3.0rc20"]

#: Compute capability → a GPU of the catalogue.
GPUS = {gpu.compute_capability: gpu.name for gpu in catalogue().values() if gpu.compute_capability != "10.3"}
ARCHITECTURES = (
    *("LlamaForCausalLM", "MixtralForCausalLM", "Qwen2ForCausalLM", "Phi3ForCausalLM"),
    *("GPT2LMHeadModel", "NemotronForCausalLM", "GemmaForCausalLM"),
)
PARALLEL = ((1, 1), (2, 1), (2, 2))
QUANTIZATIONS = [
    None,
    *((method, cache) for method in METHODS for cache in (None, "fp8", "int8", "nvfp4")),
]


@dataclass(frozen=True)
class Case:
    """A recipe, as far as commands and files depend on it."""

    version: str
    mode: Mode = "engine"
    gpu: str = "H100-SXM-80GB"
    quantization: tuple[str, str | None] | None = None
    parallel: tuple[int, int] = (1, 1)
    build: tuple[tuple[str, Any], ...] = ()
    runtime: tuple[tuple[str, Any], ...] = ()
    server: Server = "trtllm-serve"
    served: bool = False

    @property
    def base(self) -> str | None:
        known = release(self.version)
        if not self.served or known is None:
            return None
        return known.triton_image if self.server == "triton" else release_image(self.version)

    @property
    def values(self) -> dict[str, Json]:
        said = self.quantization
        return {
            "dtype": "auto",
            "quantization": {"method": said[0], "kv_cache_dtype": said[1]} if said else "none",
            "tensor_parallel_size": self.parallel[0],
            "pipeline_parallel_size": self.parallel[1],
            "gpu": self.gpu,
            "engine": {
                "type": "tensorrt_llm",
                "version": self.version,
                "args": {},
                "mode": self.mode,
                "build": dict(self.build) if self.mode == "engine" else None,
                "runtime": dict(self.runtime),
                "server": self.server,
            },
            "image": {"base": self.base, "layout": "server" if self.served else "model"},
            "builder": {"image": "registry.example.com/builder:1", "timing_cache": None},
        }

    @property
    def settings(self) -> Settings:
        return Settings(
            self.version,
            self.mode,
            self.server,
            tensor_parallel_size=self.parallel[0],
            pipeline_parallel_size=self.parallel[1],
            quantization=self._quantization(),
            build=dict(self.build),
            runtime=dict(self.runtime),
            gpu=catalogue()[self.gpu],
        )

    def _quantization(self) -> Quantization | None:
        if self.quantization is None:
            return None
        method, cache = self.quantization
        groups = 128 if METHODS[method].groups else None
        tool = default_tool("engine" if self.mode == "engine" else "pytorch")
        return Quantization(method, tool, cache, groups, None, CALIBRATION)


def accepted(case: Case) -> bool:
    """By the rules of the recipe itself and the engine's check."""
    if case.quantization is not None:
        made = SUPPORTED["engine" if case.mode == "engine" else "pytorch"].values()
        method, cache = case.quantization
        if not any(method in m.methods and cache in (None, *m.kv_cache_dtypes) for m in made):
            return False
    return not check(case.values)


def emitted(case: Case, architecture: str) -> Mapping[str, Any]:
    """What the parser of the checkpoint's program makes of the words."""
    settings, config = case.settings, config_of(case, architecture)
    family = family_of(config, settings)
    if settings.route == "quantize":
        words = quantize_command(settings, MODEL, TEXTS, OUTPUT, dtype=dtype_of(settings, config))
        return parse(case.version, "quantize", words[2:])
    words = convert_command(settings, family, MODEL, OUTPUT)
    if certainty(case.version, family) == "shared":
        return parse_family(family.name, words[2:])
    return parse(case.version, f"convert_{family.name}", words[2:])


def config_of(case: Case, architecture: str) -> dict[str, Json]:
    """The model's config.json; a recipe for GPTQ names a model that is quantized so."""
    config: dict[str, Json] = {"architectures": [architecture], "torch_dtype": "bfloat16"}
    if case.settings.method == "w4a16_gptq":
        config["quantization_config"] = {"quant_method": "gptq", "bits": 4, "group_size": 128}
    return config


def may_be_refused(case: Case, architecture: str) -> bool:
    """What only the model's config.json tells: gemma's script has no pipelines, NVFP4 and GPTQ are for two
    families, and the KV cache of a GPTQ model is quantized by llama's script alone, to FP8.
    """
    method, cache = case.quantization or (None, None)
    llama = architecture in ("LlamaForCausalLM", "MixtralForCausalLM")
    if method == "nvfp4" and not llama:
        return True
    if method == "w4a16_gptq":
        return cache == "int8" or not (llama or (architecture == "Qwen2ForCausalLM" and cache is None))
    return architecture.startswith("Gemma") and case.parallel[1] > 1 and case.settings.route == "convert"


@pytest.mark.parametrize("version", ENGINE_VERSIONS)
def test_checkpoints(version: str) -> None:
    """Family × quantization × KV cache × GPU × tensor and pipeline parallelism."""
    seen, whole = 0, version in TABLES
    gpus, parallels = (GPUS.values(), PARALLEL) if whole else ((GPUS["9.0"],), ((2, 1),))
    for quantization, gpu, parallel in product(QUANTIZATIONS, gpus, parallels):
        case = Case(version, gpu=gpu, quantization=quantization, parallel=parallel)
        if not accepted(case):
            continue
        for architecture in ARCHITECTURES:
            if may_be_refused(case, architecture):
                with pytest.raises(RefusedError):
                    emitted(case, architecture)
                continue
            values = emitted(case, architecture)
            assert values["dtype"] == "bfloat16"
            ranks = values.get("world_size") or values["tp_size"] * values["pp_size"]
            assert ranks == case.settings.world_size
            if case.settings.route == "quantize":
                assert values["kv_cache_dtype"] == (quantization or ("", None))[1]
            seen += 1
    assert seen > (400 if whole else 60)


def _choices(option: Option) -> Iterator[Json]:
    """Values of an option: every choice, or two that its type has."""
    if option.nargs == "none":
        yield from (True, False)
    elif option.nargs == "many":
        yield list(option.choices[:2]) or ["a", "b"]
    elif option.choices:
        yield from option.choices
        if option.toggle:
            yield from (True, False)
    else:
        yield from {"int": (1, 64), "float": (0.5,), "str": ("text",)}.get(option.type, ())


def _builds(version: str) -> Iterator[Case]:
    """Every value of every build option by itself, and the switches in pairs with the sizes."""
    for option in options(version, "build").values():
        for value in _choices(option):
            yield Case(version, build=((option.name, value),))
            yield Case(version, build=(("max_batch_size", 8), ("max_seq_len", 4096), (option.name, value)))


@pytest.mark.parametrize("version", ENGINE_VERSIONS)
def test_builds(version: str) -> None:
    """Every value of every option that the check takes is what the parser gets, and the defaults stay."""
    seen = 0
    for case in _builds(version):
        if not accepted(case):
            continue
        settings = case.settings
        words = compile_command(settings, MODEL, OUTPUT, None, OUTPUT / "model.cache", workers(settings, 1))
        values = parse(version, "build", words[1:])
        for name, value in settings.build.items():
            assert values[name] == _as_word(version, name, value), (name, value)
        seen += 1
    assert seen > 150


def _as_word(version: str, name: str, value: Json) -> Json:
    """True and false as the words of an option that takes enable or disable."""
    if not options(version, "build")[name].toggle:
        return value
    return "enable" if value in (True, "enable") else "disable"


@pytest.mark.parametrize("version", ENGINE_VERSIONS)
def test_engines_are_served(version: str) -> None:
    """Every option of trtllm-serve that the check takes, by itself; and Triton's keys have a place."""
    seen = 0
    for parallel in PARALLEL:
        for runtime in _runtimes(version):
            case = Case(version, parallel=parallel, runtime=runtime, served=True)
            if not accepted(case):
                continue
            words = entrypoint(case.settings)[1:]
            values = parse(version, "serve", words[1:] if words[0] == "serve" else words)
            ranks = [
                values.get(f"{kind}_parallel_size") or values.get(f"{kind[0]}p_size")
                for kind in ("tensor", "pipeline")
            ]
            assert ranks == list(parallel)
            for name, value in runtime:
                assert values[name] == value
            seen += 1
        triton = Case(version, parallel=parallel, server="triton", served=True)
        if accepted(triton):
            assert cast("Any", repository_values(triton.settings))["required"]
            seen += 1
    known = release(version)
    assert known is not None
    assert (seen > 0) == bool(known.triton_tags or "serve" in _commands(version))


def _commands(version: str) -> list[str]:
    try:
        return ["serve"] if options(version, "serve") else []
    except KeyError:
        return []


def _runtimes(version: str) -> Iterator[tuple[tuple[str, Json], ...]]:
    yield ()
    for option in options(version, "serve").values() if _commands(version) else ():
        for value in _choices(option):
            yield ((option.name, value),)


#: Keys of the YAML with keys of their own, and what a recipe may say there.
SECTIONS: tuple[tuple[str, Any], ...] = (
    ("kv_cache_config", {"free_gpu_memory_fraction": 0.5, "enable_block_reuse": False}),
    ("cuda_graph_config", {"enable_padding": True, "batch_sizes": [1, 2, 4]}),
    ("moe_config", {"backend": "CUTLASS"}),
    ("torch_compile_config", {"enable_inductor": True}),
    ("scheduler_config", {"capacity_scheduler_policy": "MAX_UTILIZATION"}),
    ("speculative_config", {"decoding_type": "NGram", "max_draft_len": 4}),
    ("lora_config", {"max_lora_rank": 8}),
)


@pytest.mark.parametrize("version", PYTORCH_VERSIONS)
def test_checkpoints_are_served(version: str) -> None:
    """Quantization × GPU × parallelism × keys of the YAML, by trtllm-serve and by Triton."""
    seen = 0
    runtimes = [(), *(((name, value),) for name, value in _keys(version)), *((pair,) for pair in SECTIONS)]
    gpus = GPUS.values() if version in TABLES else (GPUS["9.0"],)
    cases = [Case(version, "pytorch", *rest) for rest in product(gpus, QUANTIZATIONS, PARALLEL)]
    cases += [Case(version, "pytorch", runtime=runtime) for runtime in runtimes]
    for case in cases:
        if not accepted(case):
            continue
        settings = case.settings
        document = yaml.safe_load(serve_yaml(settings))
        assert unknown_keys(version, document) == []
        assert document["tensor_parallel_size"] == case.parallel[0]
        assert document["pipeline_parallel_size"] == case.parallel[1]
        cache = case.quantization[1] if case.quantization else None
        if cache is not None:
            assert document["kv_cache_config"]["dtype"] == cache
        for name, value in case.runtime:
            assert document[name] == value
        words = entrypoint(settings)[1:]
        parse(version, "serve", words[1:] if words[0] == "serve" else words)
        model = yaml.safe_load(model_yaml(settings))
        assert model.pop("triton_config")
        assert unknown_keys(version, model) == []
        seen += 1
    assert seen > 60


def _keys(version: str) -> Iterator[tuple[str, Json]]:
    """A value for every plain key of the YAML."""
    plain: dict[str, Json] = {"bool": True, "int": 1, "float": 0.5, "str": "text"}
    for key in keys(version).values():
        value = key.choices[0] if key.choices else next((plain[k] for k in key.kinds if k in plain), None)
        if value is not None:
            yield key.name, value


#: What parsers take and what fails minutes or hours later (facts of 1.3.0rc3): never accepted.
SM100_REFUSES = (
    "w8a16",
    "w4a16",
    "w4a16_awq",
    "w4a8_awq",
    "w4a16_gptq",
    "w8a8_int8",
    "fp8_per_channel_per_token",
)
SM100_PLUGINS = (
    ("gemm_swiglu_plugin", "fp8"),
    ("fp8_rowwise_gemm_plugin", "auto"),
    ("low_latency_gemm_plugin", "fp8"),
    ("low_latency_gemm_swiglu_plugin", "fp8"),
    ("bert_context_fmha_fp32_acc", "enable"),
)
B200 = GPUS["10.0"]
FAILS = [
    *(Case("1.2.1", gpu=B200, quantization=(method, None)) for method in SM100_REFUSES),
    Case("1.2.1", gpu=B200, quantization=("fp8", "int8")),
    *(Case("1.2.1", gpu=B200, build=(plugin,)) for plugin in SM100_PLUGINS),
    *(Case(version, gpu=GPUS["8.0"], quantization=("fp8", None)) for version in ENGINE_VERSIONS),
    *(Case(version, gpu=GPUS["8.6"], quantization=("w4a8_awq", None)) for version in ENGINE_VERSIONS),
    *(Case(version, gpu=GPUS["8.0"], quantization=("w8a16", "fp8")) for version in ENGINE_VERSIONS),
    *(Case(version, gpu=GPUS["9.0"], quantization=("nvfp4", None)) for version in ENGINE_VERSIONS),
    *(Case(version, quantization=("fp8", "nvfp4")) for version in ENGINE_VERSIONS),
    *(Case(version, quantization=("mxfp4", None)) for version in ENGINE_VERSIONS),
    *(Case(version, quantization=("fp8_block_scales", None)) for version in ENGINE_VERSIONS),
    Case("1.2.1", gpu=GPUS["8.9"], quantization=("fp8_per_channel_per_token", None)),
    *(Case(version, gpu=B200) for version in ("0.12.0", "0.16.0")),
    *(Case(version, build=(("build_config", "b.json"),)) for version in ENGINE_VERSIONS),
    *(Case(version, build=(("max_output_len", 8),)) for version in ENGINE_VERSIONS),
    *(Case(version, build=(("tp_size", 2),)) for version in ENGINE_VERSIONS),
    *(Case(version, build=(("streamingllm", "enable"),)) for version in ("1.2.1", "1.3.0rc20")),
    Case("1.2.1", build=(("gather_context_logits", True), ("max_draft_len", 4))),
    Case("1.2.1", build=(("multiple_profiles", "enable"), ("opt_num_tokens", 8))),
    Case("1.2.1", build=(("auto_parallel", 2),)),
    Case("0.12.0", build=(("kv_cache_type", "paged"),)),
    Case("0.12.0", build=(("use_fused_mlp", "enable"),)),
    Case("0.16.0", build=(("dora_plugin", "enable"),)),
    Case("1.2.1", build=(("gemm_plugin", "fp16"),)),
    *(Case(version, "pytorch") for version in ENGINE_VERSIONS if version not in PYTORCH_VERSIONS),
    *(Case(version) for version in PYTORCH_VERSIONS if version not in ENGINE_VERSIONS),
    *(
        Case("1.3.0rc22", "pytorch", gpu=GPUS["8.0"], quantization=(method, None))
        for method in ("fp8", "nvfp4")
    ),
    Case("1.3.0rc3", "pytorch", gpu=GPUS["9.0"], quantization=("nvfp4", None)),
    Case("1.3.0rc22", "pytorch", gpu=GPUS["8.9"], quantization=("fp8_block_scales", None)),
    Case("1.3.0rc22", "pytorch", quantization=("fp8", "int8")),
    Case("1.3.0rc22", "pytorch", quantization=("fp8", "nvfp4")),
    Case("1.3.0rc22", "pytorch", runtime=(("quant_config", {"quant_algo": "FP8"}),)),
    Case("1.3.0rc22", "pytorch", runtime=(("kv_cache_config", {"fraction": 0.5}),)),
    Case("1.3.0rc22", "pytorch", runtime=(("batch_size", 8),)),
    *(Case(version, served=True) for version in ("0.12.0", "0.14.0", "0.15.0")),
    *(Case(version, "pytorch", server="triton", served=True) for version in ("1.3.0rc3", "1.3.0rc22")),
    Case("1.2.1", runtime=(("max_batch_size", 16),), build=(("max_batch_size", 8),), served=True),
]


@pytest.mark.parametrize("case", FAILS, ids=str)
def test_what_fails_later_is_not_accepted(case: Case) -> None:
    assert not accepted(case)


def test_and_without_its_fault_it_is() -> None:
    """The refusals above are for what they say: their neighbours pass."""
    for version in TABLES:
        assert accepted(Case(version))
        assert accepted(Case(version, quantization=("fp8", "fp8")))
        assert accepted(Case(version, gpu=GPUS["8.0"], quantization=("w4a16_awq", None)))
    assert accepted(Case("1.2.1", gpu=B200, quantization=("nvfp4", "fp8")))
    assert accepted(Case("1.2.1", gpu=B200, quantization=("fp8", None)))
    assert accepted(Case("1.3.0rc22", "pytorch", quantization=("fp8", "fp8")))
    assert accepted(Case("1.2.1", build=(("max_draft_len", 4),)))
    assert accepted(
        Case("1.2.1", runtime=(("max_batch_size", 8),), build=(("max_batch_size", 8),), served=True)
    )


def test_the_parsers_refuse() -> None:
    """What stands in for the parsers is no rubber stamp."""
    for version in TABLES:
        for words in (
            ("--no_such", "1"),
            ("--use_paged_context_fmha",),
            ("--max_batch_size", "many"),
            ("--max_batch", "1"),
        ):
            with pytest.raises(ValueError):
                parse(version, "build", words)
        with pytest.raises(ValueError) as caught:
            parse(version, "build", ("--max_seq_len", "1", "--max_seq_len", "2"))
        assert str(caught.value) == "given twice: ['--max_seq_len', '--max_seq_len']"
    assert unknown_keys("1.2.1", {"kv_cache_config": {"dtyp": 1}})[:1] == ["kv_cache_config.dtyp"]


def test_the_facts_refuse_what_they_did_not_list() -> None:
    if not facts():
        services.missing("the facts are not part of the checkout")
    with pytest.raises(ValueError) as caught:
        parse("0.13.0", "build", ("--gemm_plugin", "nvfp4"))
    assert "invalid choice: 'nvfp4'" in str(caught.value)
