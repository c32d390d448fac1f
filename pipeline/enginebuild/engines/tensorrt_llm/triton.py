"""What Triton's model repository is filled with: five models around an engine, or one for a checkpoint.

The templates are the pinned image's own and differ by version; scripts/fill_repository.py copies and fills
them in that image, strictly. What must be filled was read from the templates of 0.12 to 0.19 and from what
NVIDIA fills at 1.3.0rc3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from enginebuild.engines.tensorrt_llm.compile import build_options
from enginebuild.engines.tensorrt_llm.serve import ENGINE_PATH, MODEL_PATH, TOKENIZER_PATH, pytorch_keys
from enginebuild.engines.tensorrt_llm.settings import Settings, at_least
from enginebuild.errors import RefusedError
from enginebuild.yaml_text import emit_lines
from enginebuild_cache import Json

#: Where the templates are in Triton's image, by mode, and the filled repository in ours.
TEMPLATES: Mapping[str, str] = {
    "engine": "/app/all_models/inflight_batcher_llm",
    "pytorch": "/app/all_models/llmapi",
}
REPOSITORY = "/model_repository"

PORT, GRPC_PORT, METRICS_PORT = 8000, 8001, 8002
HEALTH_PATH = "/v2/health/ready"

#: Of the five models those that have the key, in every version from 0.12 to 1.3.0rc3. `None`: the batch size.
_REQUIRED: Mapping[str, Mapping[str, str]] = {
    "ensemble": {},
    "preprocessing": {"tokenizer_dir": TOKENIZER_PATH, "preprocessing_instance_count": "1"},
    "tensorrt_llm": {
        "triton_backend": "tensorrtllm",
        "decoupled_mode": "false",
        "engine_dir": ENGINE_PATH,
        "batching_strategy": "inflight_fused_batching",
        "max_queue_delay_microseconds": "0",
        "max_queue_size": "0",
    },
    "postprocessing": {"tokenizer_dir": TOKENIZER_PATH, "postprocessing_instance_count": "1"},
    "tensorrt_llm_bls": {"decoupled_mode": "false", "bls_instance_count": "1"},
}

#: Keys that came later, filled wherever a template has them: types of tensors (encoder's features with 0.15,
#: logits with 0.17, prompt tables after 0.19) and the queue of preprocessing (0.19).
_IF_PRESENT: Mapping[str, str] = {
    "engine_dir": ENGINE_PATH,
    "encoder_input_features_data_type": "TYPE_FP16",
    "logits_datatype": "TYPE_FP32",
    "max_queue_delay_microseconds": "0",
    "max_queue_size": "0",
    "prompt_embedding_table_data_type": "TYPE_FP16",
}

#: The first version whose image has the template that loads a checkpoint.
_LLMAPI = "0.19.0"


def repository_values(settings: Settings, engine: Mapping[str, Json] | None = None) -> dict[str, Json]:
    """What fill_repository.py reads. `engine` is `compile.resolved` of what was built (engine mode)."""
    if settings.mode == "pytorch":
        return {"files": {"tensorrt_llm/1/model.yaml": model_yaml(settings).decode()}}
    return _engine_values(settings, {**build_options(settings), **(engine or {})})


def _engine_values(settings: Settings, built: Mapping[str, Json]) -> dict[str, Json]:
    """For each model what must be filled; what is filled wherever it is; what the recipe asks for.

    Triton's batches are no larger than the engine's, and its logits are what the engine makes.
    """
    size, logits = _text(built["max_batch_size"]), settings.build.get("logits_dtype")
    asked = {name: _text(value) for name, value in sorted(settings.runtime.items())}
    beams = {"max_beam_width": _text(built["max_beam_width"])}
    required: dict[str, Json] = {
        model: {
            "triton_max_batch_size": size,
            **values,
            **(beams if model == "tensorrt_llm" else {}),
        }
        for model, values in _REQUIRED.items()
    }
    if_present = {**_IF_PRESENT, "logits_datatype": "TYPE_FP16" if logits == "float16" else "TYPE_FP32"}
    return {
        "required": required,
        "if_present": cast("dict[str, Json]", if_present),
        "asked": cast("dict[str, Json]", asked),
    }


def model_yaml(settings: Settings) -> bytes:
    """The model.yaml of the llmapi template: the keys of `trtllm-serve`'s YAML, the model, and Triton's own.

    Raises RefusedError for a version without that template.
    """
    if not at_least(settings.version, _LLMAPI):
        raise RefusedError(
            f"Triton's image with TensorRT-LLM {settings.version} has no template that loads a checkpoint",
            f"it came with {_LLMAPI}",
        )
    keys: dict[str, Json] = {
        "model": MODEL_PATH,
        "backend": "pytorch",
        **pytorch_keys(settings),
        "triton_config": {"max_batch_size": 0, "decoupled": False},
    }
    head = f"# Written by enginebuild for TensorRT-LLM {settings.version} and Triton's llmapi model.\n"
    return (head + emit_lines(keys.items())).encode()


def triton_entrypoint(settings: Settings) -> tuple[str, ...]:
    """The image's entry point: one Triton for each rank, as NVIDIA's launch_triton_server.py starts them.

    That program itself returns at once, which would end the container. Ranks but the first load the engine
    alone. In pytorch mode one Triton starts the ranks itself, and the model's own configuration counts.
    """
    words = ["mpirun", "--allow-run-as-root"]
    ranks = settings.world_size if settings.mode == "engine" else 1
    for rank in range(ranks):
        words += [*([":"] if rank else []), "-n", "1", "tritonserver", f"--model-repository={REPOSITORY}"]
        if rank:
            words += ["--model-control-mode=explicit", "--load-model=tensorrt_llm"]
        words += [f"--grpc-port={GRPC_PORT}", f"--http-port={PORT}", f"--metrics-port={METRICS_PORT}"]
        if settings.mode == "engine":
            words.append("--disable-auto-complete-config")
        words.append(f"--backend-config=python,shm-region-prefix-name=prefix{rank}_")
    return tuple(words)


def _text(value: Json) -> str:
    """A value as a template takes it; of a list the items with commas."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join(map(_text, value))
    return str(value)
