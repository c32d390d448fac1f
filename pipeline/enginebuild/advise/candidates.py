"""Which candidates there are: given on the command line, measured, or cited (engines.json)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from enginebuild.advise.advice import Candidate, Compiling
from enginebuild.advise.figure import Figure, amount
from enginebuild.errors import RecipeError

_FILE = Path(__file__).with_name("engines.json")
_NAME = re.compile(r"([a-z_]+(?:-pytorch)?)(?::([a-z0-9_]+?))?(?:x([1-9][0-9]{0,2}))?\Z")


@dataclass(frozen=True)
class EngineFacts:
    """An engine as it is cited. `throughput` None: nobody is cited for it."""

    name: str
    compiles: bool
    throughput: Figure | None
    weeks: Figure
    lost: tuple[str, ...]


@dataclass(frozen=True)
class Facts:
    """What is cited where nothing is measured or given."""

    engines: Mapping[str, EngineFacts]
    compile_minutes: Figure
    recompiles: Figure


@cache
def facts() -> Facts:
    """The facts of engines.json."""
    document = json.loads(_FILE.read_text("utf-8"))

    def cited(entry: Mapping[str, object]) -> Figure:
        return Figure(float(str(entry["value"])), "cited", str(entry["source"]))

    engines = {}
    for name, entry in document["engines"].items():
        tokens = entry["tokens_per_gpu_hour"]
        throughput = None if tokens is None else Figure(tokens, "cited", document["throughput_source"])
        engines[name] = EngineFacts(
            name, entry["compiles"], throughput, cited(entry["weeks"]), tuple(entry["lost"])
        )
    return Facts(
        engines,
        cited(document["compile_minutes"]),
        cited(document["recompiles_per_month"]),
    )


@dataclass(frozen=True)
class Circumstances:
    """What the user or the records say of compiling and besides; None: it is cited."""

    compile_minutes: Figure | None = None
    recompiles: Figure | None = None
    compile_gpus: int = 1
    fixed: Mapping[str, Figure] | None = None


def given(texts: Iterable[str]) -> tuple[Candidate, ...]:
    """`vllm=667k`, `tensorrt_llm:fp8x2=741k`: tokens per GPU-hour. Raises RecipeError."""
    found: dict[str, Candidate] = {}
    for text in texts:
        name, _, tokens = text.partition("=")
        candidate = named(name, "--throughput")
        if candidate.name in found:
            raise RecipeError(f"--throughput names {candidate.name} twice", "give each one once")
        value = amount(tokens, f"--throughput {name}")
        found[candidate.name] = replace(candidate, throughput=Figure(value, "given", f"--throughput {text}"))
    return tuple(found.values())


def fixed_costs(texts: Iterable[str]) -> dict[str, Figure]:
    """`tensorrt_llm=500`: dollars a month, by the candidate's name. Raises RecipeError."""
    found = {}
    for text in texts:
        name, _, dollars = text.partition("=")
        if re.fullmatch(r"[0-9]+(\.[0-9]+)?", dollars) is None:
            raise RecipeError(
                f"--fixed-cost {name} must be dollars per month, not '{dollars}'",
                "write for example tensorrt_llm=500",
            )
        found[named(name, "--fixed-cost").name] = Figure(float(dollars), "given", f"--fixed-cost {text}")
    return found


def named(text: str, option: str) -> Candidate:
    """`ENGINE[:METHOD][xGPUS]`. Raises RecipeError."""
    match = _NAME.match(text)
    if match is None or match[1] not in facts().engines:
        engines = ", ".join(facts().engines)
        raise RecipeError(
            f"{option} '{text}' is not ENGINE, ENGINE:QUANTIZATION or ENGINE:QUANTIZATIONxGPUS",
            f"engines are {engines}; write for example vllm=667k or tensorrt_llm:fp8x2=741k",
        )
    return Candidate(match[1], match[2] or "", int(match[3] or 1))


def candidates(
    asked: Sequence[Candidate], measured: Sequence[Candidate], circumstances: Circumstances
) -> tuple[Candidate, ...]:
    """What is given goes before what is measured; only if there is neither, cited figures stand in.

    An engine of which nothing is known stays among them, without numbers. Raises RecipeError for a fixed cost
    of another.
    """
    found = {each.name: each for each in [*asked, *measured][::-1]}
    ordered = [found[name] for name in dict.fromkeys(each.name for each in [*asked, *measured])]
    engines = facts().engines
    for name, known in engines.items():
        if not any(each.engine == name for each in ordered):
            cited = known.throughput if not (asked or measured) else None
            ordered.append(Candidate(name, throughput=cited))
    if strangers := sorted(set(circumstances.fixed or {}) - {each.name for each in ordered}):
        raise RecipeError(
            f"--fixed-cost names {', '.join(strangers)}, which is not compared",
            f"compared are {', '.join(each.name for each in ordered)}",
        )
    ordered.sort(key=lambda each: list(engines).index(each.engine))
    return tuple(_completed(each, circumstances) for each in ordered)


def _completed(candidate: Candidate, circumstances: Circumstances) -> Candidate:
    known = facts().engines[candidate.engine]
    compiling = None
    if known.compiles:
        compiling = Compiling(
            circumstances.compile_minutes or facts().compile_minutes,
            circumstances.recompiles or facts().recompiles,
            circumstances.compile_gpus,
        )
    fixed = (circumstances.fixed or {}).get(candidate.name)
    return replace(candidate, compiling=compiling, fixed=fixed, weeks=known.weeks, lost=known.lost)
