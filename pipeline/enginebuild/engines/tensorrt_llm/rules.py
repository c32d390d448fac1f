"""What parsers of TensorRT-LLM let through and what fails later: options that exclude one another, GPUs that
a plugin does not know, numbers that do not fit together.

Facts: what `trtllm-build` of 1.3.0rc3 raises after parsing. Older versions are held to the same, but for
streamingllm, which they had.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from enginebuild.engines.tensorrt_llm.table import Option
from enginebuild.engines.tensorrt_llm.values import Path, normalised
from enginebuild.engines.tensorrt_llm.versions import Release
from enginebuild.engines.words import shown
from enginebuild.errors import Problem
from enginebuild_cache import Json

BUILD: Path = ("engine", "build")
RUNTIME: Path = ("engine", "runtime")

#: Compute capability 10.0 alone, not 10.3.
_NOT_ON_SM100 = (
    "gemm_swiglu_plugin",
    "fp8_rowwise_gemm_plugin",
    "low_latency_gemm_plugin",
    "low_latency_gemm_swiglu_plugin",
    "bert_context_fmha_fp32_acc",
)
#: Modes whose draft weights come from another model, by scripts of their own (medusa, eagle, redrafter).
_OTHER_WEIGHTS = ("medusa", "eagle", "explicit_draft_tokens")
#: Kinds of speculative_config that the PyTorch backend does not have.
_ENGINE_ONLY = ("Medusa", "Lookahead")
_NEWEST = "1.3.0rc3"
_SIZES = ("max_batch_size", "max_beam_width", "max_num_tokens", "max_seq_len")

_IN_THE_IMAGE = "give the absolute path of a folder that the base image or a mounted volume has"


def build_problems(
    wanted: Release, options: Mapping[str, Option], build: Mapping[str, Json], compute_capability: str | None
) -> Iterator[Problem]:
    """Relations within engine.build. `build` has values that were found right one by one."""
    said = {name: normalised(options[name], value) for name, value in build.items()}
    yield from _logits(said)
    if said.get("multiple_profiles") == "enable" and "opt_num_tokens" in said:
        message = "opt_num_tokens cannot be given with multiple_profiles, which chooses several"
        yield Problem((*BUILD, "opt_num_tokens"), message, "remove one of the two", on_key=True)
    if said.get("streamingllm") == "enable" and _NEWEST in wanted.tables:
        message = "streamingllm is not supported any more: trtllm-build of 1.3.0rc3 raises"
        yield Problem((*BUILD, "streamingllm"), message, "remove the line")
    if said.get("speculative_decoding_mode") in _OTHER_WEIGHTS:
        mode = said["speculative_decoding_mode"]
        message = f"speculative_decoding_mode {mode} needs draft weights, for which a recipe has no place"
        hint = "lookahead_decoding needs none, draft_tokens_external takes another engine's tokens"
        yield Problem((*BUILD, "speculative_decoding_mode"), message, hint)
    if compute_capability == "10.0":
        yield from _sm100(said)


def _logits(said: Mapping[str, Json]) -> Iterator[Problem]:
    drafted = said.get("max_draft_len")
    if not isinstance(drafted, int) or drafted < 1:
        return
    for name in ("gather_context_logits", "gather_all_token_logits"):
        if said.get(name) is True:
            message = f"{name} cannot be had with max_draft_len, which is {drafted}"
            yield Problem((*BUILD, name), message, "remove one of the two", on_key=True)


def _sm100(said: Mapping[str, Json]) -> Iterator[Problem]:
    for name in _NOT_ON_SM100:
        if said.get(name, "disable") != "disable":
            message = f"{name} is not supported on compute capability 10.0: trtllm-build raises"
            yield Problem((*BUILD, name), message, "remove the line, or write disable")


def model_problems(
    options: Mapping[str, Option], build: Mapping[str, Json], architecture: str
) -> Iterator[Problem]:
    """Relations between engine.build and the model, whose config.json names the architecture."""
    scatter = build.get("pp_reduce_scatter")
    if scatter is None or "pp_reduce_scatter" not in options:
        return
    if normalised(options["pp_reduce_scatter"], scatter) == "enable" and architecture != "MixtralForCausalLM":
        message = f"pp_reduce_scatter is supported for Mixtral alone, and the model is {architecture}"
        yield Problem((*BUILD, "pp_reduce_scatter"), message, "remove the line")


def size_problems(
    options: Mapping[str, Option], build: Mapping[str, Json], runtime: Mapping[str, Json]
) -> Iterator[Problem]:
    """Sizes of the server that its engine does not have."""
    for name in _SIZES:
        asked, built = runtime.get(name), build.get(name, options[name].default)
        if isinstance(asked, int) and isinstance(built, int) and asked > built:
            message = f"{name} is {asked}, and the engine is built for {built}"
            yield Problem((*RUNTIME, name), message, f"write {name}: {asked} in engine.build, too")


def parallel_problems(runtime: Mapping[str, Json], tensor: int, pipeline: int) -> Iterator[Problem]:
    """How the experts and the layers of a model are spread over the GPUs."""
    experts, columns = (_count(runtime, f"moe_{kind}_parallel_size") for kind in ("expert", "tensor"))
    clusters = _count(runtime, "moe_cluster_parallel_size")
    product = (experts or 1) * (columns or 1) * (clusters or 1)
    if tensor % product or (experts and columns and product != tensor):
        names = [
            f"moe_{kind}_parallel_size"
            for kind, size in (("expert", experts), ("tensor", columns), ("cluster", clusters))
            if size
        ]
        message = f"{' × '.join(names)} is {product}, which does not make up tensor_parallel_size, {tensor}"
        hint = "the experts are spread over the GPUs that share a layer"
        yield Problem((*RUNTIME, names[0]), message, hint)
    parts = runtime.get("pp_partition")
    if isinstance(parts, list) and len(parts) != pipeline:
        message = f"pp_partition has {len(parts)} parts, and pipeline_parallel_size is {pipeline}"
        yield Problem((*RUNTIME, "pp_partition"), message, "give the layers of each group of GPUs")


def _count(runtime: Mapping[str, Json], name: str) -> int | None:
    value = runtime.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def yaml_problems(runtime: Mapping[str, Json]) -> Iterator[Problem]:
    """What the YAML may say, and an image cannot do."""
    load = runtime.get("load_format")
    if isinstance(load, str) and load.lower() == "dummy":
        message = "load_format dummy serves random weights"
        yield Problem((*RUNTIME, "load_format"), message, "remove the line: auto loads the model")
    speculative = runtime.get("speculative_config")
    if isinstance(speculative, dict):
        yield from _speculative(speculative)
    lora = runtime.get("lora_config")
    folders = lora.get("lora_dir") if isinstance(lora, dict) else None
    for index, folder in enumerate(folders if isinstance(folders, list) else []):
        if isinstance(folder, str):
            yield from _absolute("lora_config.lora_dir", folder, ("lora_config", "lora_dir", index))


def _speculative(said: Mapping[str, Json]) -> Iterator[Problem]:
    """What the PyTorch backend says of drafts when it starts (llm_args.py of 1.0 to 1.3.0rc3)."""
    place, kind, drafter = ("speculative_config",), said.get("decoding_type"), said.get("speculative_model")
    if kind in _ENGINE_ONLY:
        message = f"speculative_config.decoding_type {kind} is for engines: the pytorch backend refuses it"
        yield Problem((*RUNTIME, *place, "decoding_type"), message, "write Eagle, MTP, NGram or DraftTarget")
    elif kind == "Eagle" and drafter is None:
        message = "speculative_config of this kind needs speculative_model"
        yield Problem((*RUNTIME, *place), message, "add it: " + _IN_THE_IMAGE)
    elif isinstance(drafter, str):
        yield from _absolute("speculative_config.speculative_model", drafter, (*place, "speculative_model"))


def _absolute(name: str, folder: str, place: Path) -> Iterator[Problem]:
    if not folder.startswith("/"):
        message = f"{name} {shown(folder)} will not be there: the image holds one model and is offline"
        yield Problem((*RUNTIME, *place), message, _IN_THE_IMAGE)
