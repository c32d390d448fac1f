"""A recipe from `trtllm-build`, and the commands that made its checkpoint."""

from __future__ import annotations

from collections.abc import Sequence

from enginebuild.engines.tensorrt_llm.versions import (
    LAST_WITH_ENGINES,
    STABLE,
    check_version,
    release,
    release_image,
)
from enginebuild.importing.checkpoint import read_checkpoint
from enginebuild.importing.draft import Draft, no_command
from enginebuild.importing.environment import carry_environment
from enginebuild.importing.launch import Launch, surroundings
from enginebuild.importing.trtllm_words import Words, no_positional, read_words
from enginebuild.recipe.references import holds_tensorrt_llm
from enginebuild_cache import Json

BUILD = ("engine", "build")
#: Set by enginebuild; nothing is lost with them.
_OURS = ("checkpoint_dir", "output_dir", "log_level", "output_timing_cache")
_SCRIPTS = ("convert_checkpoint.py", "quantize.py")
_BEFORE_0_12 = {"tp_size": "tensor_parallel_size", "pp_size": "pipeline_parallel_size"}


def import_build(started: Sequence[Launch], version: str | None = None) -> Draft:
    """The draft of a build and of what came before it. Raises RecipeError, with all mistakes."""
    builds = [each for each in started if each.program == "trtllm-build"]
    scripts = [each for each in started if each.program in _SCRIPTS]
    if len(builds) != 1 or len(builds) + len(scripts) != len(started):
        raise no_command(["give one trtllm-build, and what made its checkpoint"], "these do not go together")
    draft = Draft("a trtllm-build command" + "".join(f" and {each.program}" for each in scripts))
    chosen = put_engine(draft, next((each.image for each in started if each.image), ""), version, "engine")
    draft.put(("engine", "mode"), "engine")
    mistakes = [mistake for each in scripts for mistake in read_checkpoint(draft, each, chosen)]
    words = read_words("trtllm-build", chosen, ("build",), builds[0].words)
    mistakes += [*words.mistakes, *no_positional("trtllm-build", words)]
    if mistakes:
        raise no_command(mistakes)
    _carry(draft, words)
    _gaps(draft, scripts)
    for each in started:
        carry_environment(draft, each.environment)
        surroundings(draft, each)
    return draft


def put_engine(draft: Draft, image: str, version: str | None, mode: str) -> str:
    """Write engine and base. The version: what is asked for, the image's, the newest stable.

    Raises RecipeError for a version that is asked for and not known, or does not have the mode.
    """
    if version is not None and (problem := check_version(version)):
        raise no_command([f"{problem.message}; {problem.hint}"], "--version cannot be used")
    held = image.rpartition(":")[2] if holds_tensorrt_llm(image) and "release:" in image else ""
    chosen = version or (held if release(held) else STABLE)
    known = release(chosen)
    if known is None or mode not in known.modes:
        what = f"TensorRT-LLM {chosen} has no mode {mode}"
        hint = f"{LAST_WITH_ENGINES} was the last with it" if mode == "engine" else "it came with 1.0.0"
        raise no_command([f"{what}; {hint}"], "--version cannot be used" if version else "no such engine")
    if held and held != chosen:
        draft.lose(
            f"TensorRT-LLM {held} of the image", f"not a version that enginebuild knows; it is {chosen}"
        )
    draft.put(("engine",), {"type": "tensorrt_llm", "version": chosen})
    draft.put(("image", "base"), release_image(chosen))
    return chosen


def _carry(draft: Draft, words: Words) -> None:
    values = {name: value for name, value in words.values.items() if name not in _OURS}
    cache: Json = values.pop("input_timing_cache", None)
    if cache is not None:
        draft.put(("builder", "timing_cache"), f"file:{cache}")
    workers = values.pop("workers", 1)
    if workers != 1:
        draft.put(("builder", "gpus"), workers)
    for name, place in _BEFORE_0_12.items():
        if values.pop(name, 1) != 1:
            draft.put((place,), words.values[name])
    if "build_config" in values:
        values.pop("build_config")
        why = "a file whose sizes count, and not those of the command: write them as options of engine.build"
        draft.lose(words.spelled["build_config"], why)
    draft.put(BUILD, {})
    for name, value in values.items():
        draft.put((*BUILD, name), value, words.spelled[name])
    if not values:
        del draft.mapping(("engine",))["build"]


def _gaps(draft: Draft, scripts: Sequence[Launch]) -> None:
    draft.gap(
        ("gpu",),
        "an engine runs on the GPU alone that it is compiled for: name it, or give --gpu",
        "H100-SXM-80GB",
    )
    if not scripts:
        why = "trtllm-build names a checkpoint alone: give the command that made it, too"
        draft.put(("name",), "engine")
        draft.gap(("model",), why, "hf://org/name")
        why = "dtype, quantization and parallel sizes are the checkpoint's: they are the defaults here"
        draft.lose("what the checkpoint was made with", why)
