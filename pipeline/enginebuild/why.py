"""Why each step of a recipe would be made again, or since when it need not be. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from enginebuild import __version__
from enginebuild.errors import RecipeError
from enginebuild.plan import PlannedStep, PlanStatus
from enginebuild.recipe import Recipe
from enginebuild.wording import Cause, brought_by, causes
from enginebuild_cache import Digest, Json, Record

#: Of one step so many causes are shown to people.
_MOST = 12


@dataclass(frozen=True, slots=True)
class Since:
    """A record: when it was made (ISO 8601), for which recipe and by what."""

    key: str
    finished: str
    subject: str
    tool: str

    @classmethod
    def of(cls, record: Record) -> Since:
        said = {name: str(record.provenance.get(name) or "?") for name in ("finished", "subject", "tool")}
        return cls(str(record.key), **said)

    def told(self, recipe: str) -> str:
        """For who plans `recipe` with this version: when, and what is not of either."""
        day, _, clock = self.finished.partition("T")
        when = f"{day} {clock[:5]} UTC" if clock.endswith("+00:00") else self.finished
        whose = f", made for {self.subject}" if self.subject != recipe else ""
        tool = f", by {self.tool}" if self.tool != f"enginebuild {__version__}" else ""
        return f"{when} (record {Digest.parse(self.key).short}{whose}{tool})"

    def __str__(self) -> str:
        return f"{Digest.parse(self.key).short} of {self.finished}, made for {self.subject} by {self.tool}"

    def to_json(self) -> dict[str, Json]:
        return {
            "key": self.key,
            "finished": self.finished,
            "subject": self.subject,
            "tool": self.tool,
        }


@dataclass(frozen=True)
class Explanation:
    """A step with what its key differs in from that of the record `since`, the one that was used last.

    Of a hit, `since` is the record that it hits. `whole` is False while an input is not known: more may
    differ. `recipe` is the one that is explained.
    """

    step: str
    status: PlanStatus
    key: Digest | None
    reason: str
    causes: tuple[Cause, ...] = ()
    since: Since | None = None
    whole: bool = True
    recipe: str = ""

    def to_json(self) -> dict[str, Json]:
        return {
            "name": self.step,
            "status": self.status,
            "key": str(self.key) if self.key else None,
            "reason": self.reason or None,
            "since": self.since.to_json() if self.since else None,
            "causes": [cause.to_json() for cause in self.causes],
            "whole": self.whole,
        }

    def lines(self, width: int = 10) -> list[str]:
        """For people, the step's own line first; `width`: of the longest name of a step."""
        head = f"{self.step:<{width}} {self.status:<10}"
        if self.status == "hit":
            since = "" if self.since is None else f"since {self.since.told(self.recipe)}"
            return [f"{head}  {', '.join(filter(None, (since, self.reason)))}".rstrip()]
        if self.since is None or not (self.causes or self.whole):
            return [f"{head}  {self.reason}".rstrip()]
        known = "" if self.whole else f"{self.reason}; known so far, "
        if not self.causes:
            return [f"{head}  {self.reason}: {self.since.told(self.recipe)}"]
        lines = [f"{head}  {known}since {self.since.told(self.recipe)}:"]
        shown, more = self.causes[:_MOST], len(self.causes) - _MOST
        lines += [f"             {cause}" for cause in shown]
        return [*lines, f"             and {more} more, see --json"] if more > 0 else lines


def why(
    steps: Sequence[PlannedStep], records: Mapping[str, Record], recipe: Recipe, only: str | None = None
) -> tuple[Explanation, ...]:
    """Explain each step of a plan, or only one. `records`: see `Preview.records`.

    Raises RecipeError if the recipe has no such step.
    """
    names = [planned.step.name for planned in steps]
    if only is not None and only not in names:
        raise RecipeError(
            f"{recipe.name} has no step {only}",
            f"its steps are {', '.join(names)}",
        )
    outputs = {planned.step.name: planned for planned in steps}
    return tuple(
        _explained(planned, outputs, records.get(planned.step.name), recipe)
        for planned in steps
        if only in (None, planned.step.name)
    )


def fields_at_fault(explanations: Sequence[Explanation]) -> tuple[str, ...]:
    """The recipe's fields that make steps run, each once, in the order of the steps."""
    named = (cause.recipe for each in explanations for cause in each.causes if not cause.follows)
    return tuple(dict.fromkeys(name for name in named if name))


def _explained(
    planned: PlannedStep, outputs: Mapping[str, PlannedStep], record: Record | None, recipe: Recipe
) -> Explanation:
    step, status, key, reason = planned.step, planned.status, planned.key, planned.reason
    if status == "unneeded":
        return Explanation(step.name, status, key, reason)
    since = None if record is None else Since.of(record)
    if status == "hit":
        return Explanation(step.name, status, key, reason, since=since, recipe=recipe.name)
    if step.unresolved or record is None:
        brought = brought_by(step.name)
        here = f" (the step is there for {brought})" if brought and status == "miss" else ""
        return Explanation(step.name, status, key, f"{reason}{here}", whole=not step.unresolved)
    known = {name: tree for name in step.inputs if (tree := outputs[name].output) is not None}
    whole = len(known) == len(step.inputs)
    inputs: dict[str, Json] = {name: str(tree.digest) for name, tree in known.items()}
    document = {**step.description(), "inputs": inputs}
    before = record.fields if whole else _without(record.fields, set(step.inputs) - set(known))
    found = causes(step.name, before, document, recipe)
    why = _reason(reason, found, whole)
    return Explanation(step.name, status, key, why, found, since, whole, recipe.name)


def _reason(reason: str, found: tuple[Cause, ...], whole: bool) -> str:
    """A miss's own reason is the list of its causes over again."""
    return "another key" if whole and found else reason


def _without(fields: Mapping[str, Json], unknown: set[str]) -> dict[str, Json]:
    inputs = fields.get("inputs")
    if not isinstance(inputs, dict):
        return dict(fields)
    return {**fields, "inputs": {name: tree for name, tree in inputs.items() if name not in unknown}}
