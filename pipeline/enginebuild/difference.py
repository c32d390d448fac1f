"""What differs between two recipes, two locks or two images, by what decides the result. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Literal

from enginebuild.change import changes
from enginebuild.inspect import Inspection
from enginebuild.lock import Lock, ModelLock
from enginebuild.recipe import Recipe
from enginebuild.step import Step
from enginebuild.wording import Cause, causes
from enginebuild_cache import Json

Kind = Literal["recipes", "locks", "images"]

#: `follows`: nothing of it differs but what it is made of. `unknown`: it cannot be told, see `reason`.
PartStatus = Literal["same", "differs", "follows", "only in a", "only in b", "unknown"]


@dataclass(frozen=True)
class Part:
    """A step, or a part of a lock or an image, on both sides."""

    name: str
    status: PartStatus
    causes: tuple[Cause, ...] = ()
    reason: str = ""

    def to_json(self) -> dict[str, Json]:
        return {
            "name": self.name,
            "status": self.status,
            "reason": self.reason or None,
            "causes": [cause.to_json() for cause in self.causes],
        }

    def lines(self) -> list[str]:
        """For people, the part's own line first."""
        head = f"{self.name:<10} {self.status}{f': {self.reason}' if self.reason else ''}"
        return [head, *(f"             {cause}" for cause in self.causes)]


@dataclass(frozen=True)
class Difference:
    """All parts in the order of a build.

    `besides`: fields that differ and decide nothing of the result; while that is not known, all that differ.
    """

    kind: Kind
    parts: tuple[Part, ...]
    besides: tuple[str, ...] = ()

    @property
    def equal(self) -> bool | None:
        """None: it cannot be told."""
        statuses = {part.status for part in self.parts}
        if statuses - {"same", "unknown"}:
            return False
        return None if "unknown" in statuses else True

    @property
    def verdict(self) -> str:
        """The last line for people."""
        named = ", ".join(self.besides)
        if self.equal is None:
            more = f"; what is written differs in {named}" if named else ""
            return f"whether they are equal cannot be told{more}"
        if not self.equal:
            return "they differ"
        return f"equal in what decides the result{f', though not in {named}' if named else ''}"

    def to_json(self) -> dict[str, Json]:
        return {
            "kind": self.kind,
            "equal": self.equal,
            "parts": [part.to_json() for part in self.parts],
            "besides": list(self.besides),
        }


def between_recipes(a: tuple[Recipe, Sequence[Step]], b: tuple[Recipe, Sequence[Step]]) -> Difference:
    """Compare step by step, by what goes into their keys: outputs need not be known."""
    (recipe_a, steps_a), (recipe_b, steps_b) = a, b
    before, after = ({step.name: step for step in steps} for steps in (steps_a, steps_b))
    recipe = recipe_a if recipe_a.builder.image is not None else recipe_b
    parts: dict[str, Part] = {}
    for name in _in_order([*before], [*after]):
        parts[name] = _step_part(name, before.get(name), after.get(name), parts, recipe)
    found = Difference("recipes", tuple(parts.values()))
    if found.equal is False:
        return found
    return Difference("recipes", found.parts, _besides(_written(recipe_a), _written(recipe_b)))


def between_locks(a: Lock, b: Lock) -> Difference:
    """Compare files, digests and versions: how they were asked for decides nothing."""
    before, after = _lock_parts(a), _lock_parts(b)
    parts = tuple(_part(name, before.get(name), after.get(name)) for name in _in_order([*before], [*after]))
    asked = tuple(
        name for name in _besides(a.to_json(), b.to_json()) if _is_asked(name, a) and _is_asked(name, b)
    )
    return Difference("locks", parts, asked)


def between_images(a: Inspection, b: Inspection) -> Difference:
    """Compare labels, how the image starts, and layers by their content, whatever compressed them."""
    before, after = _image_parts(a, b), _image_parts(b, a)
    parts = tuple(_part(name, before.get(name), after.get(name)) for name in _in_order([*before], [*after]))
    found = Difference("images", parts)
    besides = ("digest",) if found.equal and a.digest != b.digest else ()
    return Difference("images", parts, besides)


def _in_order(a: Sequence[str], b: Sequence[str]) -> list[str]:
    """The names of both: each of the second ones before the first that comes after it there."""
    names = list(a)
    for place, name in enumerate(b):
        if name not in names:
            later = [names.index(other) for other in b[place:] if other in names]
            names.insert(min(later, default=len(names)), name)
    return names


def _step_part(
    name: str, before: Step | None, after: Step | None, earlier: Mapping[str, Part], recipe: Recipe
) -> Part:
    if before is None or after is None:
        return Part(name, "only in b" if before is None else "only in a")
    if reason := before.unresolved or after.unresolved:
        return Part(name, "unknown", reason=reason)
    found = causes(name, _document(before), _document(after), recipe)
    written = tuple(cause for cause in found if not cause.follows)
    if written:
        return Part(name, "differs", written)
    statuses = {earlier[each].status for each in {*before.inputs, *after.inputs} if each in earlier}
    if statuses - {"same", "unknown"} or found:
        return Part(name, "follows")
    if "unknown" in statuses:
        return Part(name, "unknown", reason="what it is made of is not known")
    return Part(name, "same")


def _document(step: Step) -> dict[str, Json]:
    return {**step.description(), "inputs": dict.fromkeys(step.inputs, "given")}


#: Attributes of a recipe → its sections, where they are called otherwise.
_SECTIONS = {"verification": "verify", "remote": "cache.remote"}


def _written(recipe: Recipe) -> dict[str, Json]:
    """The recipe's fields by their names in the file, but where it lies."""
    values = {
        _SECTIONS.get(each.name, each.name): getattr(recipe, each.name)
        for each in fields(recipe)
        if each.name not in ("path", "root")
    }
    document: dict[str, Json] = json.loads(json.dumps(values, default=asdict))
    return document


def _besides(a: Mapping[str, Json], b: Mapping[str, Json]) -> tuple[str, ...]:
    return tuple(change.field for change in changes(a, b))


def _lock_parts(lock: Lock) -> dict[str, dict[str, Json]]:
    builder, base = lock.builder, lock.base
    parts: dict[str, dict[str, Json]] = {"fetch": _model(lock.model)}
    for name, locked in (("calibration", lock.calibration), ("timing_cache", lock.timing_cache)):
        if locked is not None:
            parts[name] = _model(locked)
    if builder is not None:
        made_in: dict[str, Json] = dict(builder.versions)
        if builder.digest is not None:
            made_in = {"image": str(builder.digest), "platform": builder.platform}
        parts["builder"] = made_in
    parts["configure"] = dict(lock.tools)
    parts["image"] = {
        "base": str(base.digest) if base.digest else base.reference,
        "platform": base.platform,
        "licence": lock.model.licence,
    }
    return parts


def _model(locked: ModelLock) -> dict[str, Json]:
    """As in the key of the step that fetches it."""
    named: dict[str, Json] = {}
    if locked.commit is not None:
        named = {"source": locked.asked.get("source"), "commit": locked.commit}
    return {**named, "files": locked.tree.to_json()}


_ASKED = ("source", "revision", "allow_patterns", "ignore_patterns", "allow_pickle")


def _is_asked(field: str, lock: Lock) -> bool:
    """Whether a field of a lock says how something was asked for, and not what it is."""
    section, _, name = field.partition(".")
    if section in ("model", "calibration", "timing_cache"):
        locked = getattr(lock, section)
        of_hub = locked is not None and locked.commit is not None
        return name.partition("[")[0] in _ASKED and not (name == "source" and of_hub)
    if field == "base.reference":
        return lock.base.digest is not None
    return field in ("builder.reference", "tools.enginebuild")


def _part(name: str, before: Mapping[str, Json] | None, after: Mapping[str, Json] | None) -> Part:
    if before is None or after is None:
        return Part(name, "only in b" if before is None else "only in a")
    found = tuple(Cause(each.field, each.old, each.new, "") for each in changes(before, after))
    return Part(name, "differs", found) if found else Part(name, "same")


#: Start of a label → the step that it tells of; of all others it is the image.
_TOLD_BY = {
    "enginebuild.model": "fetch",
    "org.opencontainers.image.licenses": "fetch",
    "enginebuild.quantization": "quantize",
    "enginebuild.engine": "configure",
    "enginebuild.dtype": "configure",
    "enginebuild.tensor_parallel_size": "configure",
    "enginebuild.pipeline_parallel_size": "configure",
    "enginebuild.mode": "configure",
    "enginebuild.server": "configure",
}
#: Stands for the whole build: it differs because something else does.
_KEY = "enginebuild.key"
_IMAGE_PARTS: tuple[str, ...] = ("fetch", "quantize", "configure", "image", "layers")
_RUN = ("Entrypoint", "Cmd", "Env", "ExposedPorts", "User", "WorkingDir", "Healthcheck")


def _image_parts(image: Inspection, other: Inspection) -> dict[str, dict[str, Json]]:
    parts: dict[str, dict[str, Json]] = {}
    for label, text in sorted(image.labels.items()):
        if label != _KEY:
            told = next((step for start, step in _TOLD_BY.items() if label.startswith(start)), "image")
            parts.setdefault(told, {})[label] = text
    run = image.config.get("config")
    begun = run if isinstance(run, dict) and not image.is_model else {}
    own = parts.setdefault("image", {})
    own["platform"] = image.platform if not image.is_model else "ModelPack"
    own |= {name: begun[name] for name in _RUN if begun.get(name)}
    parts["layers"] = _layers(image, other)
    return {name: parts[name] for name in _IMAGE_PARTS if name in parts}


def _layers(image: Inspection, other: Inspection) -> dict[str, Json]:
    """Digest by what a layer holds; where that is not told on either side, by its place."""
    told = all(layer.holds for each in (image, other) for layer in each.layers)
    contents, others = _contents(image), _contents(other)
    digests = contents if contents and others else [layer.digest for layer in image.layers]
    found: dict[str, Json] = {}
    for number, (layer, digest) in enumerate(zip(image.layers, digests, strict=True), 1):
        name = layer.holds if told else f"layer {number}"
        found[name if name not in found else f"{name} ({number})"] = digest
    return found


def _contents(image: Inspection) -> list[str]:
    """The digests of the layers' content; none where the config does not tell them."""
    files = image.config.get("rootfs")
    told = files.get("diff_ids") if isinstance(files, dict) else None
    if not isinstance(told, list) or len(told) != len(image.layers):
        return []
    return [str(digest) for digest in told]
