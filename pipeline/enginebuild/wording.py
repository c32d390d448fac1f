"""A key's fields in the words of the recipe: which of its fields each one comes from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from enginebuild.change import Change, changes
from enginebuild.recipe import Recipe
from enginebuild_cache import Json

#: What a field comes from that no recipe holds.
OURS = "enginebuild"

#: Fields that differ because something else does, and what people call them.
_FOLLOWING: Mapping[str, str] = {
    "fields.fingerprint": "the key of the whole build",
    "fields.labels.enginebuild.key": "the key of the whole build",
    "fields.labels.enginebuild.model.digest": "the model's files",
    "fields.entrypoint": "how its server is started",
    "fields.environment": "its server's variables",
    "fields.healthcheck": "how its server's health is asked",
    "fields.port": "its server's port",
    "fields.paths": "where things stand in it",
}

#: Fields of which the recipe's own name says all, and the beginning of such ones.
_SAID = ("compression.choice",)
_LABELS = "labels.enginebuild."
#: So many characters of a value are shown.
_LONGEST = 80
#: A file of a list, by its content.
_FILE = re.compile(r"files\[(.*)\]\.sha256")

#: Options of TensorRT-LLM's convert scripts and quantize.py → the recipe's field.
_OPTIONS: Mapping[str, str] = {
    "--dtype": "dtype",
    "--tp_size": "tensor_parallel_size",
    "--world-size": "tensor_parallel_size",
    "--world_size": "tensor_parallel_size",
    "--pp_size": "pipeline_parallel_size",
    "--moe_tp_size": "engine.runtime.moe_expert_parallel_size",
    "--moe_ep_size": "engine.runtime.moe_expert_parallel_size",
    "--use_weight_only": "quantization.method",
    "--weight_only_precision": "quantization.method",
    "--per_group": "quantization.method",
    "--quant_ckpt_path": "quantization.method",
    "--qformat": "quantization.method",
    "--group_size": "quantization.group_size",
    "--awq_block_size": "quantization.group_size",
    "--fp8_kv_cache": "quantization.kv_cache_dtype",
    "--kv_cache_dtype": "quantization.kv_cache_dtype",
    "--calib_dataset": "quantization.calibration.dataset",
    "--calib_size": "quantization.calibration.num_samples",
    "--calib_max_seq_length": "quantization.calibration.max_seq_length",
    "--tokenizer_max_seq_length": "quantization.calibration.max_seq_length",
    "--batch_size": "quantization.calibration.batch_size",
    "--seed": "quantization.calibration.seed",
    "--gpt_variant": "model.source",
    "program": "engine.version",
}

#: Fields of a quantizer's key that are the tool's own.
_OF_A_TOOL = ("scripts", "request.versions", "request.scheme", "request.algorithm", "request.adjustable")

_PARALLEL = {
    "tensor_parallel_size": "tensor_parallel_size",
    "pipeline_parallel_size": "pipeline_parallel_size",
}

#: Step → the start of a field of its key → the recipe's field; a trailing dot keeps the rest of the name.
_FIELDS: Mapping[str, Mapping[str, str]] = {
    "compile": {
        "options.": "engine.build.",
        "tensorrt_llm": "engine.version",
        "gpu": "gpu",
        **_PARALLEL,
    },
    "quantize": {
        "tool": "quantization.tool",
        "request.method": "quantization.method",
        "request.scheme": "quantization.method",
        "request.algorithm": "quantization.method",
        "request.adjustable": "quantization.method",
        "request.group_size": "quantization.group_size",
        "request.exclude_modules": "quantization.exclude_modules",
        "request.kv_cache_dtype": "quantization.kv_cache_dtype",
        "request.calibration.folder": "quantization.calibration.dataset",
        "request.calibration.": "quantization.calibration.",
        "request.calibration": "quantization.calibration",
        "request.versions": "quantization.tool",
        "request": OURS,
        "scripts": OURS,
    },
    "configure": {
        "engine": "engine.type",
        "version": "engine.version",
        "served_model_name": "model.source",
        "dtype": "dtype",
        **_PARALLEL,
        "args.": "engine.args.",
        "args": "engine.args",
        "mode": "engine.mode",
        "server": "engine.server",
        "kv_cache_dtype": "quantization.kv_cache_dtype",
        "runtime.": "engine.runtime.",
        "runtime": "engine.runtime",
        "programs": OURS,
        "warm": "warm",
    },
    "triton": {
        "values.": "engine.runtime.",
        "templates": "engine.mode",
        "programs": OURS,
    },
    "validate": {
        "request.version": "engine.version",
        "request.asked.dtype": "dtype",
        **{f"request.asked.{name}": field for name, field in _PARALLEL.items()},
        "request.asked.": "engine.args.",
        "request": OURS,
        "programs": OURS,
    },
    "warm": {
        "engine": "engine.version",
        "base": "image.base",
        "platform": "image.platform",
        "arguments.dtype": "dtype",
        **{f"arguments.{name}": field for name, field in _PARALLEL.items()},
        "arguments.": "engine.args.",
        "arguments": "engine.args",
        "ranks": "tensor_parallel_size or pipeline_parallel_size",
        "hardware": "the machine that warms it",
        "environment": OURS,
        "model": OURS,
        "program": OURS,
    },
    "image": {
        "layout": "image.layout",
        "base": "image.base",
        "platform": "image.platform",
        "compression": "image.compression",
        "seed": "warm",
        "labels.enginebuild.model": "model.source",
        "labels.enginebuild.engine.version": "engine.version",
        "labels.enginebuild.engine": "engine.type",
        "labels.enginebuild.dtype": "dtype",
        **{f"labels.enginebuild.{name}": field for name, field in _PARALLEL.items()},
        "labels.enginebuild.gpu": "gpu",
        "labels.enginebuild.quantization": "quantization.method",
        "labels.enginebuild.mode": "engine.mode",
        "labels.enginebuild.server": "engine.server",
        "labels.enginebuild.layout": "image.layout",
        "labels.org.opencontainers.image.licenses": "model.source",
        "labels.": "image.labels.",
        "card": "model.source",
        "layers": OURS,
        "created": OURS,
    },
    "verify": {
        "verify.prompts": "verify.smoke.prompts",
        "verify.": "verify.",
        "lm_eval.script": OURS,
        "lm_eval.environment": "verify.quality.lm_eval",
        "lm_eval.num_concurrent": "verify.quality.lm_eval.num_concurrent",
        "lm_eval.": "verify.quality.",
        "gpus": "the GPUs that serve it",
        "image": "image",
    },
}

#: Steps that a recipe has only because of one of its fields.
_BROUGHT_BY: Mapping[str, str] = {
    "calibration": "quantization.calibration",
    "timing_cache": "builder.timing_cache",
    "quantize": "quantization",
    "convert": "engine.mode",
    "compile": "engine.mode",
    "tokenizer": "engine.mode",
    "triton": "engine.server",
    "metadata": "engine.validate",
    "validate": "engine.validate",
    "model_config": "warm",
    "warm": "warm",
    "verify": "verify",
}

#: Steps that bring files: the section of the recipe that names these.
_SOURCES: Mapping[str, str] = {
    "fetch": "model.source",
    "tokenizer": "model.source",
    "metadata": "model.source",
    "model_config": "model.source",
    "calibration": "quantization.calibration.dataset",
    "timing_cache": "builder.timing_cache",
}


@dataclass(frozen=True, slots=True)
class Cause:
    """A field of a key that is another: `field` is the key's, `recipe` the recipe's that it comes from.

    `recipe` is empty for what stands for the whole build or was made by an earlier step (`follows`).
    """

    field: str
    old: str
    new: str
    recipe: str
    follows: bool = False

    def __str__(self) -> str:
        return f"{self.shown}: {_cut(self.old)} → {_cut(self.new)}"

    @property
    def shown(self) -> str:
        """The recipe's field; behind it the key's own where that tells more."""
        if self.follows:
            return _consequence(self.field)
        last = self.field.rpartition(".")[2].lstrip("-")
        plain = self.field.removeprefix("fields.")
        if not self.recipe:
            return plain
        if plain in _SAID or plain.startswith(_LABELS):
            return self.recipe
        if file := _FILE.fullmatch(plain):
            return f"{self.recipe} ({file[1]})"
        return self.recipe if self.recipe.endswith(last) else f"{self.recipe} ({plain})"

    def to_json(self) -> dict[str, Json]:
        return {
            "field": self.field,
            "recipe": self.recipe or None,
            "follows": self.follows,
            "old": self.old,
            "new": self.new,
        }


def _cut(value: str) -> str:
    """What is longer than a digest with its name is shown by its beginning; JSON has it whole."""
    return value if len(value) <= _LONGEST else f"{value[: _LONGEST - 1]}…"


def _consequence(field: str) -> str:
    if field.startswith("inputs."):
        return f"what {field.removeprefix('inputs.')} made"
    said = _following(field) or field.removeprefix("fields.")
    last = field.rpartition(".")[2]
    return f"{said} ({last})" if field.count(".") > 1 and "labels" not in field else said


def _following(field: str) -> str:
    """What people call a field that differs because something else does; empty for all others."""
    starts = (start for start in _FOLLOWING if field == start or field.startswith(f"{start}."))
    return _FOLLOWING.get(next(starts, ""), "")


def brought_by(step: str) -> str:
    """The recipe's field because of which there is such a step; empty for what every recipe has."""
    return _BROUGHT_BY.get(step, "")


def causes(step: str, old: Mapping[str, Json], new: Mapping[str, Json], recipe: Recipe) -> tuple[Cause, ...]:
    """What differs between two key documents of a step, in the order: what was written, then what follows."""
    found = changes(_readable(old), _readable(new))
    fields = {change.field for change in found}
    named = [_cause(step, change, found, recipe) for change in found if _superior(change.field) not in fields]
    said = {cause.recipe for cause in named if not cause.follows and not _is_label(cause)}
    told = [cause for cause in named if not (_is_label(cause) and cause.recipe in said)]
    return tuple(sorted(told, key=lambda cause: cause.follows))


def _superior(field: str) -> str:
    """The field beside which another one tells nothing more; empty for most."""
    if field == "fields.compression.methods":
        return "fields.compression.choice"
    return f"{field.removesuffix('size')}sha256" if field.endswith("].size") else ""


def _is_label(cause: Cause) -> bool:
    """Whether it only repeats in a label what decides the result elsewhere."""
    return cause.field.startswith(f"fields.{_LABELS}")


def _cause(step: str, change: Change, beside: Sequence[Change], recipe: Recipe) -> Cause:
    field = change.field
    if _following(field) and step in ("configure", "image"):
        return Cause(field, change.old, change.new, "", follows=True)
    if field.startswith("inputs."):
        brought = _brought(change)
        return Cause(field, change.old, change.new, brought, follows=not brought)
    if field == "version":
        return Cause(field, change.old, change.new, OURS)
    if field == "environment":
        return Cause(field, change.old, change.new, _environment(step, recipe))
    return Cause(field, change.old, change.new, _field(step, field, beside, recipe))


def _brought(change: Change) -> str:
    """The recipe's field that an input is there for, where it was not before, or is not any more."""
    name = change.field.removeprefix("inputs.")
    return brought_by(name) if "(absent)" in (change.old, change.new) else ""


def _environment(step: str, recipe: Recipe) -> str:
    """What says in what a step's commands run."""
    if recipe.builder.runner == "local":
        return "builder.environment"
    if step in ("triton", "validate", "warm"):
        return "image.base"
    # Without builder.image the engine's version says which it is.
    return "engine.version" if recipe.builder.image is None else "builder.image"


def _field(step: str, field: str, beside: Sequence[Change], recipe: Recipe) -> str:
    plain = field.removeprefix("fields.")
    if plain.startswith("command."):
        return _OPTIONS.get(plain.removeprefix("command."), "")
    if step in _SOURCES and not plain.startswith("files: "):
        return _sourced(step, plain, beside, recipe)
    if step == "quantize" and "fields.tool" in {change.field for change in beside}:
        # Another tool has programs and names of its own.
        table = dict.fromkeys(_OF_A_TOOL, "quantization.tool")
        return _looked_up(table, plain) or _looked_up(_FIELDS[step], plain)
    return _looked_up(_FIELDS.get(step, {}), plain)


def _looked_up(table: Mapping[str, str], plain: str) -> str:
    for start, named in table.items():
        if start.endswith(".") and plain.startswith(start):
            return named + plain.removeprefix(start)
        if plain == start or plain.startswith((f"{start}.", f"{start}[")):
            return named
    return ""


def _sourced(step: str, plain: str, beside: Sequence[Change], recipe: Recipe) -> str:
    """What brings other files: another source, another revision, or a choice among the same ones."""
    source = _SOURCES[step]
    if not source.startswith("model."):
        return source
    moved = {change.field for change in beside} & {"fields.source", "fields.commit"}
    if plain == "source" or "fields.source" in moved or not recipe.model.source.startswith("hf://"):
        return source
    return "model.revision" if moved else "model.allow_patterns or model.ignore_patterns"


def _readable(document: Mapping[str, Json]) -> dict[str, Json]:
    """The document with its command lines by option, so that one word is one change."""
    fields = document.get("fields")
    if not isinstance(fields, dict):
        return dict(document)
    command = fields.get("command")
    if not isinstance(command, list):
        return dict(document)
    said: dict[str, Json] = dict(_by_option([str(word) for word in command]))
    return {**document, "fields": {**fields, "command": said}}


def _by_option(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    name, values = "program", list[str]()
    for word in words:
        if word.startswith("--"):
            yield name, " ".join(values) or "given"
            name, values = word, []
        else:
            values.append(word)
    yield name, " ".join(values) or "given"
