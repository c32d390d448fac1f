"""A recipe from one of vLLM's own: models/<org>/<model>.yaml of vllm-project/recipes, as of November 2026.

Order of their command builder: base, hardware, variant with its hardware, strategy, features; of an option
that comes twice the last counts. The strategy is always one node with tensor parallelism.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from enginebuild.engines.vllm.table import VERSIONS
from enginebuild.engines.words import listed
from enginebuild.importing.draft import Draft, no_command, texts
from enginebuild.importing.environment import carry_environment
from enginebuild.importing.hardware import Hardware, hardware
from enginebuild.importing.model import put_model
from enginebuild.importing.vllm import carry, put_engine
from enginebuild.importing.vllm_words import read_words
from enginebuild.recipe import read_foreign
from enginebuild.recipe.show import quoted
from enginebuild_cache import Json

_STRATEGY = "single_node_tp"
_WITHOUT = "no-"
_DEFAULT = "default"

Values = Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Choice:
    """What a user picks. `features`: NAME to switch on, no-NAME off, NAME=MODE one of its modes."""

    variant: str = _DEFAULT
    features: Sequence[str] = ()
    hardware: str | None = None


@dataclass
class _Sum:
    """Words and variables, added up in order; `taken` says which features are in."""

    words: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)

    def add(self, part: Json, arguments: str, variables: str) -> None:
        if isinstance(part, dict):
            self.words += [word for text in texts(part.get(arguments)) for word in _split(text)]
            self.environment |= {name: str(value) for name, value in _mapping(part, variables).items()}


def import_recipe(path: Path, choice: Choice, version: str | None = None) -> Draft:
    """The draft of a file. Raises RecipeError for one that is none, and for choices that it does not have."""
    said = read_foreign(path)
    if not isinstance(said, dict) or not _text(_mapping(said, "model"), "model_id"):
        raise no_command(["it has no model.model_id"], f"{path} is no recipe of vLLM")
    if isinstance(said.get("omni"), dict):
        raise no_command(
            ["it is for vllm-omni, and enginebuild builds for vLLM"], f"{path} cannot be imported"
        )
    chosen = hardware(choice.hardware) if choice.hardware else None
    variant = _variant(said, choice.variant)
    features = _features(said, variant, choice)
    draft = Draft(_title(said, path, choice))
    vllm = put_engine(draft, _image(said, variant, chosen), version)
    total = _sum(said, variant, features, chosen)
    words = read_words(vllm, total.words)
    name = _text(variant, "model_id") or _text(_mapping(said, "model"), "model_id")
    mistakes = [*words.mistakes, *(f"{quoted(w)} belongs to no option" for w in words.positional)]
    if mistake := put_model(draft, name):
        mistakes.append(mistake)
    if mistakes:
        raise no_command(mistakes, f"{path} cannot be understood")
    for option, why in (*words.gone.items(), *words.strangers.items()):
        draft.lose(option, why)
    words.values.pop("model", None)
    carry(draft, words)
    carry_environment(draft, total.environment)
    _sizes(draft, said, variant, chosen)
    _told(draft, said, variant, vllm, features, chosen)
    return draft


def _title(said: Values, path: Path, choice: Choice) -> str:
    title = _text(_mapping(said, "meta"), "title") or path.stem
    picked = f", variant {choice.variant}" if choice.variant != _DEFAULT else ""
    return f"vLLM's recipe for {title}{picked}"


def _variant(said: Values, name: str) -> Values:
    variants = _mapping(said, "variants")
    if name in variants:
        return _mapping(variants, name)
    if name == _DEFAULT:
        return {}
    raise no_command([f"the recipe has no variant {quoted(name)}; it has {listed(variants)}"], "--variant")


def _features(said: Values, variant: Values, choice: Choice) -> dict[str, Values]:
    """What is switched on, by name, each with the mode that counts."""
    known = _mapping(said, "features")
    modes = {name: str(mode) for name, mode in _mapping(variant, "default_modes").items()}
    on = {name for name in known if name not in texts(said.get("opt_in_features"))} | (
        set(modes) & set(known)
    )
    mistakes = []
    for word in choice.features:
        name, _, mode = word.partition("=")
        off = name.startswith(_WITHOUT) and name not in known
        name = name.removeprefix(_WITHOUT) if off else name
        if name not in known:
            mistakes.append(f"the recipe has no feature {quoted(name)}; it has {listed(known)}")
        elif off:
            on.discard(name)
        else:
            on.add(name)
            modes |= {name: mode} if mode else {}
    found = {
        name: _mode(name, _mapping(known, name), modes.get(name), mistakes) for name in known if name in on
    }
    if mistakes:
        raise no_command(mistakes, "--feature")
    return found


def _mode(name: str, feature: Values, wanted: str | None, mistakes: list[str]) -> Values:
    modes = _mapping(feature, "modes")
    if not modes:
        if wanted is not None:
            mistakes.append(f"the feature {name} has no modes")
        return feature
    mode = wanted or _text(feature, "default_mode") or next(iter(modes))
    if mode not in modes:
        mistakes.append(f"the feature {name} has no mode {quoted(mode)}; it has {listed(modes)}")
    return _mapping(modes, mode)


def _image(said: Values, variant: Values, chosen: Hardware | None) -> str:
    """Their image, where it is one for this hardware. A mapping is by hardware or brand."""
    places = [variant, _mapping(said, "model")]
    if chosen is not None:
        overrides = _mapping(variant, "hardware_overrides")
        places = [*(_mapping(overrides, key) for key in reversed(chosen.keys)), *places]
    for place in places:
        image = place.get("docker_image")
        if isinstance(image, dict):
            keys = [*reversed(chosen.keys)] if chosen else ["nvidia"]
            image = next((image[key] for key in [*keys, "default"] if key in image), None)
        if isinstance(image, str):
            return image
    return ""


def _sum(said: Values, variant: Values, features: Mapping[str, Values], chosen: Hardware | None) -> _Sum:
    total = _Sum()
    total.add(said.get("model"), "base_args", "base_env")
    keys = chosen.keys if chosen else ("nvidia",)
    for key in keys:
        total.add(_mapping(said, "hardware_overrides").get(key), "extra_args", "extra_env")
    total.add(dict(variant), "extra_args", "extra_env")
    for key in keys:
        total.add(_mapping(variant, "hardware_overrides").get(key), "extra_args", "extra_env")
    total.add(_mapping(said, "strategy_overrides").get(_STRATEGY), "extra_args", "extra_env")
    for feature in features.values():
        overrides = _mapping(feature, "hardware_overrides")
        replaced = [_mapping(overrides, key) for key in keys if key in overrides]
        total.add({**feature, **(replaced[-1] if replaced else {})}, "args", "env")
    return total


def _sizes(draft: Draft, said: Values, variant: Values, chosen: Hardware | None) -> None:
    """GPU and tensor parallelism: what the recipe says, else as few GPUs as hold vram_minimum_gb."""
    if chosen is not None:
        draft.put(("gpu",), chosen.gpu.name)
    if draft.get(("tensor_parallel_size",)) is not None:
        return
    told = _parallel(variant.get("tp"), chosen)
    told = told or _parallel(_mapping(_mapping(said, "strategy_overrides"), _STRATEGY).get("tp"), chosen)
    memory = variant.get("vram_minimum_gb")
    place = ("tensor_parallel_size",)
    if told is not None:
        draft.put(place, told)
    elif chosen is not None and isinstance(memory, int | float):
        count = _count(float(memory), chosen.gpu.memory_gb)
        if count > 1:
            draft.put(place, count)
            draft.remark(
                place, f"vram_minimum_gb is {memory:g}: {count} × {chosen.gpu.memory_gb} GB hold it."
            )
    elif isinstance(memory, int | float):
        draft.lose(
            "vram_minimum_gb", f"{memory:g} GB of GPU memory are needed: --hardware chooses how many GPUs"
        )


def _count(memory: float, each: int) -> int:
    """The smallest power of two of GPUs: attention heads divide by no other number as often."""
    count = 1
    while count * each < memory:
        count *= 2
    return count


def _parallel(said: Json, chosen: Hardware | None) -> int | None:
    if isinstance(said, dict):
        keys = [*(reversed(chosen.keys) if chosen else ()), "default"]
        said = next((said[key] for key in keys if key in said), None)
    return said if isinstance(said, int) and not isinstance(said, bool) else None


def _told(
    draft: Draft,
    said: Values,
    variant: Values,
    vllm: str,
    features: Mapping[str, Values],
    chosen: Hardware | None,
) -> None:
    """What a reader should know, and what cannot be carried."""
    off = [name for name in _mapping(said, "features") if name not in features]
    if off:
        draft.lose(
            f"features {', '.join(off)}", "left off, as their recipe has it; --feature NAME takes one in"
        )
    least = _text(variant, "min_vllm_version") or _text(_mapping(said, "model"), "min_vllm_version")
    if least and _numbers(least) > _numbers(vllm):
        why = f"their recipe needs vLLM {least} at least, and enginebuild knows {VERSIONS[-1]} as the newest"
        draft.gap(("engine", "version"), why)
    if chosen and _mapping(_mapping(said, "meta"), "hardware").get(chosen.profile) == "unsupported":
        draft.gap(("gpu",), f"their recipe says that the model does not run on {chosen.profile}")
    strategies = texts(said.get("compatible_strategies"))
    if strategies and _STRATEGY not in strategies:
        draft.lose(
            f"strategies {', '.join(strategies)}", "an image is for one machine with tensor parallelism"
        )
    for command in _dependencies(said):
        draft.lose(command, "what it installs or sets belongs into image.base")


def _dependencies(said: Values) -> Iterator[str]:
    dependencies = said.get("dependencies")
    for each in dependencies if isinstance(dependencies, list) else []:
        if isinstance(each, dict) and isinstance(each.get("command"), str):
            yield " ".join(str(each["command"]).split())


def _split(text: str) -> list[str]:
    """One word of theirs; some hold an option and its value."""
    if not re.match(r"--?\w[\w.-]*\s", text):
        return [text]
    try:
        return shlex.split(text)
    except ValueError:
        return [text]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _mapping(values: Values, key: str) -> dict[str, Json]:
    value = values.get(key)
    return value if isinstance(value, dict) else {}


def _text(values: Values, key: str) -> str:
    value = values.get(key)
    return value if isinstance(value, str) else ""
