"""The memory of one GPU as a table and a drawing, for a terminal."""

from __future__ import annotations

from enginebuild.fit.memory import GIB, Memory, Range
from enginebuild.fit.preflight import Fit
from enginebuild.fit.room import gib
from enginebuild.models import ModelFacts

WIDTH = 60
_SIGNS = (("weights", "█"), ("running", "▓"), ("KV cache", "░"), ("not used", "·"))


def explained(fit: Fit) -> list[str]:
    """Lines about the model and, where a GPU is named, about its memory."""
    lines = _model(fit)
    if fit.memory is None or fit.gpu is None:
        return [*lines, "", "memory: not reckoned, for " + _why(fit)]
    gpu, memory = fit.gpu, fit.memory
    count = "" if fit.serving.gpus == 1 else f", one of {fit.serving.gpus}"
    return [
        *lines,
        "",
        f"{f'memory of {gpu.name}{count}, in GiB':<46}{'least':>9}{'likely':>9}{'most':>9}",
        *_table(fit, memory),
        "",
        _bar(memory),
        "  ".join(f"{sign} {name}" for name, sign in _SIGNS),
    ]


def _why(fit: Fit) -> str:
    return "the recipe names no gpu" if fit.gpu is None else "too little is known of the model"


def _model(fit: Fit) -> list[str]:
    facts, shape = fit.facts, fit.facts.shape
    licence = f", licence {facts.licence}" if facts.licence else ""
    lines = [f"model: {facts.architecture or 'unknown'}{licence}"]
    if facts.parts:
        active = facts.active_parameters
        some = f", {_billions(active)} of them for each token" if active < 0.95 * facts.parameters else ""
        lines.append(
            f"  {_billions(facts.parameters)} parameters{some}; checkpoint {gib(facts.checkpoint_bytes)}"
        )
        lines.append(f"  {', '.join(_kinds(facts))}")
    if facts.stored is not None:
        dtypes = (f"{gib(size)} of {dtype}" for dtype, size in facts.stored.dtypes)
        lines.append(f"  in its files: {', '.join(dtypes)}")
    if shape is not None:
        heads = f"{shape.layers} layers, {shape.heads} heads, {shape.kv_heads} KV heads of {shape.head_dim}"
        lines.append(f"  {heads}, {shape.scaled_positions or 'unknown'} positions")
    return [*lines, *(f"  not known: {text}" for text in facts.unknown)]


def _kinds(facts: ModelFacts) -> list[str]:
    """Parameters, and the bytes in the files where they are known."""
    sizes = facts.stored_by_kind()
    return [
        f"{kind} {_billions(count)}" + (f" ({gib(sizes[kind])})" if kind in sizes else "")
        for kind, count in facts.by_kind().items()
    ]


def _billions(count: int) -> str:
    return f"{count / 1e9:.2f} B" if count >= 1e7 else f"{count / 1e6:.2f} M"


def _table(fit: Fit, memory: Memory) -> list[str]:
    share = fit.serving.share
    granted = f"granted (gpu_memory_utilization {share:g})"
    rows = [_row("usable", memory.usable)]
    if fit.serving.target == "vllm":
        rows.append(_row(granted, memory.granted))
    rows += [
        _row("weights", memory.weights),
        _row(f"activations of {memory.tokens} tokens", memory.activations),
        _row("CUDA, libraries, communication", memory.overhead),
        _row("CUDA graphs", memory.graphs),
        _row("then left for the KV cache", memory.cache),
        _row(f"one sequence of {memory.length} tokens", memory.sequence),
    ]
    together = f"{memory.together:.1f} sequences of that length"
    return [*rows, f"  {memory.per_token:,.0f} bytes of KV cache per token; {together} at the same time"]


def _row(name: str, value: float | Range) -> str:
    if isinstance(value, Range):
        return f"  {name:<44}{value.low / GIB:>9.1f}{value.likely / GIB:>9.1f}{value.high / GIB:>9.1f}"
    return f"  {name:<44}{'':>9}{value / GIB:>9.1f}"


def _bar(memory: Memory) -> str:
    running = memory.activations.likely + memory.overhead.likely
    sizes = (memory.weights, running, max(0.0, memory.cache.likely))
    text = ""
    for size, (_, sign) in zip(sizes, _SIGNS, strict=False):
        text += sign * (round(size / memory.usable * WIDTH) or int(size > 0))
    if len(text) > WIDTH:
        return f"[{text[:WIDTH]}] too much by {gib(sum(sizes) - memory.usable)}"
    return f"[{text.ljust(WIDTH, '·')}]"
