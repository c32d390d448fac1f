"""A recipe from `trtllm-serve`, with the YAML that it names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from enginebuild.engines.tensorrt_llm.versions import STABLE
from enginebuild.importing.draft import Draft, no_command
from enginebuild.importing.environment import carry_environment
from enginebuild.importing.launch import Launch, surroundings
from enginebuild.importing.model import put_model
from enginebuild.importing.trtllm_build import put_engine
from enginebuild.importing.trtllm_words import Words, read_words
from enginebuild.recipe import read_foreign
from enginebuild.recipe.show import quoted
from enginebuild.recipe.words import DTYPES
from enginebuild_cache import Json

RUNTIME = ("engine", "runtime")
_ENGINE_BACKENDS = ("tensorrt", "trt")
_SIZES = ("tensor_parallel_size", "pipeline_parallel_size")
#: Options whose YAML key lies deeper.
_DEEPER: Mapping[str, tuple[str, ...]] = {
    "free_gpu_memory_fraction": ("kv_cache_config", "free_gpu_memory_fraction"),
}
#: Options that no key of the YAML stands for (1.3.0rc3).
_NO_KEY = ("tool_parser", "chat_template", "media_io_kwargs", "custom_module_dirs", "grpc", "server_role")
#: What every image of ours says anyway.
_OURS = ("log_level", "tokenizer", "backend")


def import_serve(started: Launch, version: str | None = None, config: Path | None = None) -> Draft:
    """The draft of a command; `config` is the YAML if the command does not name it where it lies.

    Raises RecipeError for one that cannot be understood, with all mistakes.
    """
    draft = Draft(f"a {'docker run' if started.image else 'trtllm-serve'} command")
    words = read_words("trtllm-serve", version or STABLE, ("serve",), started.words)
    backend = str(words.values.get("backend", "pytorch"))
    mode = "engine" if backend in _ENGINE_BACKENDS else "pytorch"
    mistakes = [*words.mistakes, *_model(draft, words, started)]
    if backend == "_autodeploy":
        mistakes.append("--backend _autodeploy is a prototype, for which nothing is built")
    if mistakes:
        raise no_command(mistakes)
    put_engine(draft, started.image, version, mode)
    draft.put(("engine", "mode"), mode)
    for name in _SIZES:
        size = words.values.pop(name, 1)
        if size != 1:
            draft.put((name,), size)
    file = config or _named(words)
    _options(draft, words, mode)
    if file is not None:
        _yaml(draft, file, mode)
    if mode == "engine":
        why = "an engine runs on the GPU alone that it is compiled for: name it, or give --gpu"
        draft.gap(("gpu",), why, "H100-SXM-80GB")
    carry_environment(draft, started.environment)
    surroundings(draft, started)
    return draft


def _named(words: Words) -> Path | None:
    name = words.values.pop("extra_llm_api_options", None)
    return Path(str(name)) if name is not None else None


def _model(draft: Draft, words: Words, started: Launch) -> list[str]:
    revision = str(words.values.pop("revision", "") or "")
    if not words.positional:
        return ["it names no model"]
    if len(words.positional) > 1:
        return [f"{quoted(word)} is neither an option nor its value" for word in words.positional[1:]]
    mistake = put_model(draft, words.positional[0], started.volumes, revision)
    return [mistake] if mistake else []


def _options(draft: Draft, words: Words, mode: str) -> None:
    for name, value in words.values.items():
        spelled = words.spelled[name]
        everywhere = name == "host" and value == "0.0.0.0"  # noqa: S104 - ours, too
        if name in _OURS or everywhere or (name == "port" and value == 8000):
            continue
        if mode == "pytorch" and name in _NO_KEY:
            draft.lose(spelled, "trtllm-serve's YAML has no key for it: give it when the container starts")
        else:
            deeper = _DEEPER.get(name, (name,)) if mode == "pytorch" else (name,)
            draft.put((*RUNTIME, *deeper), value, spelled)


def _yaml(draft: Draft, file: Path, mode: str) -> None:
    """The file's keys, which win over options; those of kv_cache_config one by one (up to mid-2026)."""
    said = read_foreign(file)
    if not isinstance(said, dict):
        raise no_command([f"{quoted(str(file))} is no mapping"], "the YAML cannot be understood")
    if mode == "engine":
        draft.lose(quoted(str(file)), "the YAML is for the PyTorch backend; engine.build says how to compile")
        return
    for name, value in said.items():
        _key(draft, name, value)


def _key(draft: Draft, name: str, value: Json) -> None:
    if name in _SIZES:
        if value != 1:
            draft.put((name,), value)
    elif name == "dtype":
        if DTYPES.get(str(value), value) != "auto":
            draft.put(("dtype",), DTYPES.get(str(value), value))
    elif name == "kv_cache_config" and isinstance(value, dict):
        for key, inner in value.items():
            draft.put((*RUNTIME, name, key), inner, f"kv_cache_config.{key} of the YAML")
    elif name == "backend" and value in ("pytorch", None):
        return
    else:
        draft.put((*RUNTIME, name), value, f"{name} of the YAML")
