"""What to say of a key that does not exist: another tool's word, a wrong place, a misspelling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from enginebuild.errors import Problem
from enginebuild.recipe.kinds import Path, closest, dotted
from enginebuild.recipe.section import Answer, Answerer
from enginebuild.recipe.show import bare, quoted
from enginebuild.recipe.tensorrt_llm_words import (
    TENSORRT_LLM_BUILD,
    TENSORRT_LLM_KEYS,
    TENSORRT_LLM_RUNTIME,
    TENSORRT_LLM_SIZES,
)
from enginebuild.recipe.words import ENGINE_ARGUMENTS, KEYS, LATER, SET_BY_US, VLLM_KEYS

#: Every key of ours that is the last part of exactly one path, for keys written at the wrong level.
#: Beside them `image`, which is most probably the section; without words that may mean anything.
PLACES: Mapping[str, str] = {
    "dtype": "dtype",
    "quantization": "quantization",
    "method": "quantization.method",
    "tool": "quantization.tool",
    "kv_cache_dtype": "quantization.kv_cache_dtype",
    "group_size": "quantization.group_size",
    "exclude_modules": "quantization.exclude_modules",
    "calibration": "quantization.calibration",
    "dataset": "quantization.calibration.dataset",
    "num_samples": "quantization.calibration.num_samples",
    "max_seq_length": "quantization.calibration.max_seq_length",
    "batch_size": "quantization.calibration.batch_size",
    "seed": "quantization.calibration.seed",
    "tensor_parallel_size": "tensor_parallel_size",
    "pipeline_parallel_size": "pipeline_parallel_size",
    "gpu": "gpu",
    "allow": "allow",
    "model": "model",
    "source": "model.source",
    "revision": "model.revision",
    "auth": "model.auth",
    "allow_patterns": "model.allow_patterns",
    "ignore_patterns": "model.ignore_patterns",
    "allow_pickle": "model.allow_pickle",
    "engine": "engine",
    "type": "engine.type",
    "args": "engine.args",
    "validate": "engine.validate",
    "mode": "engine.mode",
    "build": "engine.build",
    "runtime": "engine.runtime",
    "server": "engine.server",
    "image": "image",
    "base": "image.base",
    "repository": "image.repository",
    "tags": "image.tags",
    "labels": "image.labels",
    "platform": "image.platform",
    "layout": "image.layout",
    "builder": "builder",
    "runner": "builder.runner",
    "timing_cache": "builder.timing_cache",
    "warm": "warm",
    "verify": "verify",
    "smoke": "verify.smoke",
    "quality": "verify.quality",
    "max_exact_match_drop": "verify.quality.max_exact_match_drop",
    "max_perplexity_increase": "verify.quality.max_perplexity_increase",
    "tasks": "verify.quality.tasks",
    "num_concurrent": "verify.quality.lm_eval.num_concurrent",
    "performance": "verify.performance",
    "concurrency": "verify.performance.concurrency",
    "input_len": "verify.performance.input_len",
    "output_len": "verify.performance.output_len",
    "percentile": "verify.performance.percentile",
    "max_time_to_first_token_ms": "verify.performance.max_time_to_first_token_ms",
    "max_time_per_output_token_ms": "verify.performance.max_time_per_output_token_ms",
    "min_throughput_tokens_per_second": "verify.performance.min_throughput_tokens_per_second",
    "matrix": "matrix",
    "variants": "variants",
    "cache": "cache",
    "remote": "cache.remote",
    "compression": "image.compression",
}

#: Keys of `engine` that mean something for one engine alone.
VLLM_ALONE = ("args", "validate")
TENSORRT_LLM_ALONE = ("mode", "build", "runtime", "server")

#: Sections that may be written as one text, and the key that this text is.
SHORT: Mapping[str, str] = {"model": "source", "quantization": "method"}


@dataclass(frozen=True)
class Vocabulary:
    """The words of one engine's users. `keys`: another tool's word → our path. `options`: the engine's own
    options → our path; `option` is what its users call one. `notes`: words with an answer of their own.
    """

    keys: Mapping[str, str]
    options: Mapping[str, str]
    option: str
    notes: Mapping[str, str]
    places: Mapping[str, str]

    def answer(self, names: Sequence[str], path: Path, key: str) -> Answer:
        """The problem of an unknown key in the section at `path`, whose keys are `names`."""
        where = f"unknown key {quoted(key)} in {dotted(path)}" if path else f"unknown key {quoted(key)}"
        spelled = key.strip().lower().replace("-", "_")
        message, (hint, meant) = where, self._advice(names, path, key, spelled)
        if not hint and spelled in LATER:
            message, hint = f"{where}: not in this version of enginebuild", "delete it"
        hint = hint or f"the keys here are {', '.join(names)}"
        return Answer(Problem((*path, key), message, hint, on_key=True), meant)

    def _advice(self, names: Sequence[str], path: Path, key: str, spelled: str) -> tuple[str, str]:
        """A hint and the path of our key; two empty texts where nothing is like it."""
        before = key.split(":")[0]
        if ":" in key and before in names:
            better = bare(key.replace(":", ": ", 1))
            return f"write a space after the colon: {better}", dotted((*path, before))
        if spelled in names:
            return f"write {spelled}", dotted((*path, spelled))
        if ours := self._ours(path, spelled):
            return _place(ours, path), ours
        if spelled in self.notes:
            return self.notes[spelled], ""
        if spelled in self.options:
            return f"{self.option}: write it as {self.options[spelled]}", ""
        if ours := _elsewhere(self.places.get(spelled), path):
            return _place(ours, path), ours
        if spelled in LATER:
            return "", ""
        return self._misspelled(names, path, spelled)

    def _ours(self, path: Path, spelled: str) -> str:
        """Our path for another tool's word, or for ours that belongs into the section, one level deeper."""
        known = self.keys.get(f"{dotted(path)}.{spelled}") or self.keys.get(spelled)
        if ours := _elsewhere(known, path):
            return ours
        place = self.places.get(spelled, "")
        return place if path and place.startswith(f"{dotted(path)}.") else ""

    def _misspelled(self, names: Sequence[str], path: Path, spelled: str) -> tuple[str, str]:
        if close := closest(spelled, names):
            return f"did you mean {close}?", dotted((*path, close))
        if ours := closest(spelled, tuple(self.places)):
            return f"did you mean {self.places[ours]}?", self.places[ours]
        if option := closest(spelled, tuple(self.options)):
            return f"did you mean {self.options[option]}?", ""
        return "", ""


def _elsewhere(ours: str | None, path: Path) -> str:
    """A path of ours, seen from a section; within the section that it names, the key that stands for it."""
    if ours is None or ours != dotted(path):
        return ours or ""
    return f"{ours}.{SHORT[ours]}" if ours in SHORT else ""


def _place(ours: str, path: Path) -> str:
    """Where our word belongs, seen from the section in which the other stands."""
    parts = tuple(ours.split("."))
    if len(parts) == 1:
        return f"write {ours}" if not path else f"write {ours} at the top level of the recipe"
    return f"write {parts[-1]}" if parts[:-1] == path else f"write it as {ours}"


VLLM = Vocabulary(
    keys={**KEYS, **VLLM_KEYS},
    options={name: f"engine.args.{name}" for name in sorted(ENGINE_ARGUMENTS)},
    option="an argument of the engine",
    notes={key: f"for TensorRT-LLM alone: engine.{key}" for key in TENSORRT_LLM_ALONE},
    places={name: path for name, path in PLACES.items() if name not in TENSORRT_LLM_ALONE},
)


def tensorrt_llm(mode: str) -> Vocabulary:
    """The words of TensorRT-LLM's users. The sizes are options of the build, or else of the server."""
    sizes = "engine.build" if mode == "engine" else "engine.runtime"
    runtime = {name: f"engine.runtime.{name}" for name in sorted(TENSORRT_LLM_RUNTIME[mode])}
    build = {name: f"engine.build.{name}" for name in sorted(TENSORRT_LLM_BUILD)}
    return Vocabulary(
        keys={
            **KEYS,
            **TENSORRT_LLM_KEYS[mode],
            **{word: f"{sizes}.{ours}" for word, ours in TENSORRT_LLM_SIZES.items()},
        },
        options={**runtime, **build} if mode == "engine" else {**build, **runtime},
        option="an option of TensorRT-LLM",
        notes=SET_BY_US,
        places=PLACES,
    )


def answer(names: Sequence[str], path: Path, key: str) -> Answer:
    """What is said to vLLM's users, and where the engine is not known."""
    return VLLM.answer(names, path, key)


def tensorrt_llm_answer(mode: str) -> Answerer:
    return tensorrt_llm(mode).answer
