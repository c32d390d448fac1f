"""What a build takes of its machine: memory, room on the cache's disk, and time. Pure.

Host memory of TensorRT-LLM's programs is documented nowhere; users tell of 600 to 1000 GB for 70B in float32
(TensorRT-LLM#236) and of a model of 160 GB that was killed with 256 GB (#538). Of the quantizers it was
measured what they keep beyond what they map from files, on the CPU with a model of 1.03 GB in four files:
llm-compressor 0.14.0.1 file by file 0.63 GB; with texts FP8 1.00 GB (0.52 GB come out) and GPTQ 2.31 GB;
ModelOpt 0.47.0 FP8 1.00 GB.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from enginebuild.execution import HostMemory
from enginebuild.fit.finding import Finding
from enginebuild.fit.memory import GIB
from enginebuild.fit.room import gib
from enginebuild.fit.serving import Serving
from enginebuild.fit.weights import loaded_bytes, weight_bytes
from enginebuild.models import ModelFacts
from enginebuild.recipe.model import Recipe

#: Python, PyTorch and a quantizer before they read anything.
_PROGRAM = GIB // 2
#: What is made may be smaller than counted by so much: exclusions, other group sizes.
_SURELY = 0.9
#: With these trtllm-build leaves weights out of the plan.
_WITHOUT_WEIGHTS = ("weight_streaming", "fast_build")


@dataclass(frozen=True, slots=True)
class Takes:
    """How long a step likely takes, in seconds, and where that is from in a few words (`estimate.py`)."""

    seconds: float
    said: str


@dataclass(frozen=True)
class Build:
    """What a run would make. `steps` None: all that a recipe has. `fetched`: bytes that are to be fetched.

    `free`: bytes on the cache's disk; `memory`: the builder's; `takes`: how long steps take, where that is
    known. What is not known is None.
    """

    steps: frozenset[str] | None = None
    fetched: int = 0
    free: int | None = None
    memory: HostMemory | None = None
    takes: Mapping[str, Takes] = field(default_factory=dict)

    def makes(self, step: str) -> bool:
        return self.steps is None or step in self.steps


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes of memory that a step takes. `least`: what it holds in any case, which is in no file yet."""

    step: str
    words: str
    likely: float
    least: float = 0


@dataclass(frozen=True, slots=True)
class Made:
    """Bytes that a step writes into the cache."""

    step: str
    words: str
    size: float


def build_findings(recipe: Recipe, facts: ModelFacts, serving: Serving, build: Build) -> Iterator[Finding]:
    """What is too much for the builder, and what likely is."""
    for need in needs(recipe, facts, serving):
        if build.makes(need.step):
            yield from _memory(recipe, need, build.memory)
    if build.free is not None:
        yield from _disk(made(recipe, facts, serving), build, build.free)
    yield from _time(recipe, build)


def needs(recipe: Recipe, facts: ModelFacts, serving: Serving) -> Iterator[Need]:
    """Of each step that runs a program on weights; nothing where too little is known."""
    if not facts.checkpoint_bytes:
        return
    if recipe.engine.mode == "engine":
        yield from _of_engine(recipe, facts, serving)
    elif recipe.quantization is not None:
        yield _of_quantizer(recipe, facts, serving)


def made(recipe: Recipe, facts: ModelFacts, serving: Serving) -> Iterator[Made]:
    """What a build leaves beside the files that it fetches."""
    if not facts.checkpoint_bytes or not facts.parts:
        return
    if recipe.engine.mode == "engine":
        engines = _ranks(facts, serving)
        yield Made(_route(recipe), "a checkpoint for trtllm-build", sum(engines))
        yield Made("compile", "engines", sum(engines))
    elif recipe.quantization is not None:
        yield Made("quantize", "a quantized checkpoint", _quantized(facts, serving))


def _of_quantizer(recipe: Recipe, facts: ModelFacts, serving: Serving) -> Need:
    quantization = recipe.quantization
    assert quantization is not None
    tool, size = quantization.tool, facts.checkpoint_bytes
    on_gpus = recipe.builder.gpus != 0
    if tool == "llm-compressor" and quantization.calibration is None:
        shard = facts.largest_file or size
        return Need("quantize", f"{tool} quantizes one file after another", _PROGRAM + shard)
    if tool == "modelopt" and on_gpus:
        shard = facts.largest_file or size
        return Need("quantize", f"{tool} brings one file after another to the GPUs", _PROGRAM + shard)
    # The quantized numbers of the whole model are in memory before they are written.
    least = _quantized(facts, serving) * _SURELY if facts.parts else 0
    return Need("quantize", f"{tool} loads the whole model", _PROGRAM + size, least)


def _of_engine(recipe: Recipe, facts: ModelFacts, serving: Serving) -> Iterator[Need]:
    route, ranks = _route(recipe), _ranks(facts, serving)
    if route == "convert":
        words = "convert_checkpoint.py loads the whole model and makes a rank's weights beside it"
        yield Need(route, words, facts.checkpoint_bytes + max(ranks))
    else:
        yield Need(route, "quantize.py loads the whole model", facts.checkpoint_bytes)
    side_by_side = _workers(recipe)
    words = "trtllm-build holds a rank's weights and the engine with them"
    if side_by_side > 1:
        words += f", {side_by_side} ranks at a time"
    options = recipe.engine.build or {}
    plain = facts.parts and not any(options.get(name) for name in _WITHOUT_WEIGHTS)
    largest = max(ranks)
    yield Need("compile", words, 2 * largest * side_by_side, largest * _SURELY if plain else 0)


def _route(recipe: Recipe) -> str:
    from enginebuild.engines.tensorrt_llm.settings import settings_of

    return settings_of(recipe).route


def _workers(recipe: Recipe) -> int:
    from enginebuild.engines.tensorrt_llm.compile import workers
    from enginebuild.engines.tensorrt_llm.settings import settings_of

    wanted = recipe.builder.gpus
    return workers(settings_of(recipe), wanted if isinstance(wanted, int) else len(wanted))


def _ranks(facts: ModelFacts, serving: Serving) -> list[float]:
    """Bytes of each rank's weights."""
    if facts.shape is None:
        return [facts.checkpoint_bytes / serving.gpus] * serving.gpus
    stages = weight_bytes(facts, facts.shape, serving)
    return [size for size in stages for _ in range(serving.tensor)]


def _quantized(facts: ModelFacts, serving: Serving) -> float:
    """Bytes of the checkpoint that quantizing leaves: what is not quantized stays as it is stored."""
    stored = replace(serving, dtype=facts.dtype)
    return sum(len(part.layers) * loaded_bytes(part, facts, stored) for part in facts.parts)


def _memory(recipe: Recipe, need: Need, host: HostMemory | None) -> Iterator[Finding]:
    """A container's limit counts before the machine's memory; a container has no swap."""
    limit = recipe.builder.memory
    if limit is not None:
        host, has = HostMemory(limit), f"builder.memory is {gib(limit)}"
        path: tuple[str, ...] = ("builder", "memory")
        hint = "give more, or leave the line out"
    elif host is not None:
        has, path = f"{host.name} has {gib(host.size)}", ("builder",)
        hint = "build on a machine that has more"
    else:
        return
    if need.least > host.size + host.swap:
        needed = f"at least {gib(need.least)}"
    elif need.likely > host.size:
        needed = f"probably {gib(need.likely)}"
    else:
        return
    message = f"the step {need.step} needs {needed} of memory ({need.words}), and {has}"
    refused = need.least > host.size + host.swap
    yield Finding("builder_memory", path, message, hint=hint, refused=refused)


def _disk(makes: Iterator[Made], build: Build, free: int) -> Iterator[Finding]:
    """Layers take no room, for they are described, not written; an image's layout may lie elsewhere."""
    written = [each for each in makes if build.makes(each.step)]
    everything = build.fetched + sum(each.size for each in written)
    # An engine may be smaller than its weights (INT4 with larger groups); a checkpoint is known better.
    surely = build.fetched + sum(each.size * _SURELY for each in written if each.step != "compile")
    if everything <= free:
        return
    parts = [f"{gib(each.size)} of {each.words}" for each in written]
    if build.fetched > free or not parts:
        what = f"{gib(build.fetched)} are to be fetched"
    else:
        fetched = [f"{gib(build.fetched)} to fetch"] if build.fetched else []
        what = f"{gib(everything)} are to be written ({', '.join([*fetched, *parts])})"
    message = f"{what}, and the cache's disk has {gib(free)} left"
    hint = "--cache-dir with a folder on a larger disk, or enginebuild cache gc"
    yield Finding("disk", ("model",), message, hint=hint, refused=surely > free)


def _time(recipe: Recipe, build: Build) -> Iterator[Finding]:
    """A step that likely takes longer than it may: it would be killed with all that it did."""
    limit = recipe.builder.timeout
    for step, takes in build.takes.items():
        if takes.seconds > limit:
            likely = f"the step {step} takes probably {_told(takes.seconds)} ({takes.said})"
            message = f"{likely}, and builder.timeout is {_told(limit)}"
            hint = "raise builder.timeout"
            yield Finding("timeout", ("builder", "timeout"), message, hint=hint, refused=False)


def _told(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.0f} min"
