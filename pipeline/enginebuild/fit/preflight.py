"""Whether a recipe's model can be served as the recipe says: the whole preflight, without weights and GPU."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from enginebuild.fit.builder import Build, build_findings
from enginebuild.fit.calibration import calibration
from enginebuild.fit.checkpoint import checkpoint_quantization
from enginebuild.fit.divisible import divisibility
from enginebuild.fit.finding import Finding
from enginebuild.fit.memory import Memory, memory_of
from enginebuild.fit.nearest import Attempt, Works, nearest
from enginebuild.fit.room import gpu_count, lengths, room
from enginebuild.fit.served import served
from enginebuild.fit.serving import Serving, serving_of
from enginebuild.fit.vllm_rules import vllm_rules
from enginebuild.models import ModelFacts
from enginebuild.models.licence import licence_warning
from enginebuild.recipe.gpu import Gpu, catalogue
from enginebuild.recipe.model import Recipe


@dataclass(frozen=True, slots=True)
class Fit:
    """`memory` None: no GPU is named, or too little is known of the model."""

    facts: ModelFacts
    serving: Serving
    gpu: Gpu | None
    memory: Memory | None
    findings: tuple[Finding, ...]

    @property
    def refusals(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.refused)

    @property
    def warnings(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if not finding.refused)


def fit(recipe: Recipe, facts: ModelFacts, gpu: Gpu | None = None, build: Build | None = None) -> Fit:
    """Everything that is known to go wrong, each with the nearest changes that work. Pure.

    `gpu`: another than the recipe names. `build`: what is to be made, and where; None: everything, anywhere.
    """
    target = gpu or (catalogue()[recipe.gpu] if recipe.gpu else None)
    serving = serving_of(recipe)
    found = [
        *served(recipe, facts),
        *checkpoint_quantization(recipe, facts, target),
        *vllm_rules(recipe, facts, serving),
        *examine(facts, serving, target),
    ]
    now = Attempt(serving, target)
    wrong = {finding.check for finding in found if finding.refused}
    clusters = {finding.check for finding in found if finding.check == "gpu_count"}

    def advised(finding: Finding) -> Finding:
        if not finding.refused:
            return finding
        others = wrong - {finding.check}
        apart = others & {"length"} | clusters  # what no size or GPU mends
        works: list[Works] = [lambda attempt: _works(attempt, facts, apart)]
        if others - apart:
            works.append(lambda attempt: _works(attempt, facts, others | clusters))
        return nearest(finding, now, facts, recipe.engine.version, works)

    beside = (
        *build_findings(recipe, facts, serving, build or Build()),
        *calibration(recipe, facts),
        *_licence(facts),
    )
    findings = tuple(
        _allowed(finding, recipe.allow) for finding in (*(advised(each) for each in found), *beside)
    )
    return Fit(facts, serving, target, _memory(facts, serving, target), findings)


def examine(facts: ModelFacts, serving: Serving, gpu: Gpu | None) -> Iterator[Finding]:
    """What is wrong, without advice."""
    yield from _unknown(facts, gpu)
    shape = facts.shape
    if shape is None:
        return
    yield from divisibility(facts, shape, serving)
    yield from lengths(shape, serving)
    if gpu is not None:
        yield from gpu_count(serving, gpu)
        memory = _memory(facts, serving, gpu)
        if memory is not None:
            yield from room(memory, serving, gpu)


def _works(attempt: Attempt, facts: ModelFacts, others: Collection[str]) -> bool:
    """Whether nothing is refused that is not refused for another reason anyway, and nothing likely fails."""
    return all(
        finding.check in others
        for finding in examine(facts, attempt.serving, attempt.gpu)
        if finding.refused or finding.check in ("memory", "kv_cache", "gpu_count")
    )


def _allowed(finding: Finding, allow: Collection[str]) -> Finding:
    if finding.refused and finding.check in allow:
        return replace(finding, refused=False, allowed=True)
    return finding


def _memory(facts: ModelFacts, serving: Serving, gpu: Gpu | None) -> Memory | None:
    if gpu is None or facts.shape is None or not facts.checkpoint_bytes:
        return None
    if serving.pipeline > facts.shape.layers:
        return None
    return memory_of(facts, facts.shape, serving, gpu)


def _unknown(facts: ModelFacts, gpu: Gpu | None) -> Iterator[Finding]:
    if not facts.unknown or gpu is None:
        return
    unchecked = "" if facts.shape is not None and facts.checkpoint_bytes else "; memory is not checked"
    message = f"not known of the model: {'; '.join(facts.unknown)}{unchecked}"
    yield Finding("unknown", ("model",), message, refused=False)


def _licence(facts: ModelFacts) -> Iterator[Finding]:
    message = licence_warning(facts.licence)
    if message is not None:
        hint = "read its terms on the model's page before you serve it"
        yield Finding("licence", ("model",), message, hint=hint, refused=False)
