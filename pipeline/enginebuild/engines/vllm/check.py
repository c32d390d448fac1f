"""All that is wrong with a recipe's engine arguments, found before anything is downloaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from enginebuild.engines.secrets import secret_problem
from enginebuild.engines.vllm import rules
from enginebuild.engines.vllm.reserved import FORMER, RESERVED
from enginebuild.engines.vllm.table import VERSIONS, Argument, Table, table
from enginebuild.engines.vllm.values import Path, value_problems
from enginebuild.engines.vllm.words import closest, listed
from enginebuild.errors import Problem
from enginebuild_cache import Json

_ARGS: Path = ("engine", "args")
_INVERSES = (("no_", ""), ("disable_", "enable_"), ("enable_", "disable_"))


def check_version(version: str) -> Problem | None:
    """Why this version of vLLM cannot be built for, None if it can."""
    if version in VERSIONS:
        return None
    near = closest(version, VERSIONS)
    hint = f"supported versions: {listed(VERSIONS)}"
    if version.removeprefix("v") in VERSIONS:
        hint = f"write {version.removeprefix('v')}, without the v"
    elif f"{version}.0" in VERSIONS:
        hint = f"write all three parts: {version}.0"
    elif near and version.rpartition(".")[0] == near.rpartition(".")[0]:
        hint = f"{hint}; of that minor version, {near}"
    return Problem(("engine", "version"), f"vLLM {version} is not a version that enginebuild knows", hint)


def check_arguments(version: str, args: Mapping[str, Json]) -> list[Problem]:
    """Every mistake in `engine.args` for a version of vLLM, in the order of the arguments.

    An unsupported version is the only problem then: without its table nothing is known. Pure; reads the
    table.
    """
    if (problem := check_version(version)) is not None:
        return [problem]
    arguments = table(version)
    found = [p for name, value in args.items() for p in _argument_problems(arguments, name, value, args)]
    broken = {p.path[len(_ARGS)] for p in found}
    return found + [p for p in rules.relation_problems(args, _ARGS) if p.path[len(_ARGS)] not in broken]


def _argument_problems(
    arguments: Table, name: str, value: Json, args: Mapping[str, Json]
) -> Iterator[Problem]:
    path = (*_ARGS, name)
    meant = _meant(arguments, name)
    if meant in RESERVED:
        reserved = RESERVED[meant]
        words = {"name": name, "option": meant.replace("_", "-")}
        yield Problem(path, reserved.message.format(**words), reserved.hint.format(**words), on_key=True)
    elif (argument := arguments.arguments.get(name)) is None:
        message = f"vLLM {arguments.version} has no argument {name!r}"
        yield Problem(path, message, _name_hint(arguments, name), on_key=True)
    elif secret := secret_problem(value, path, name):
        yield secret
    elif name == "lora_modules":
        yield from rules.lora_problems(value, path)
    else:
        yield from _known_argument(argument, value, args, path)


def _known_argument(
    argument: Argument, value: Json, args: Mapping[str, Json], path: Path
) -> Iterator[Problem]:
    mistyped = list(value_problems(argument, value, path))
    yield from mistyped
    if not mistyped:
        yield from rules.name_problems(argument, value, args, path)
        yield from rules.file_problems(argument.name, value, path)


def _meant(arguments: Table, name: str) -> str:
    """The argument behind another spelling: dashes, capitals, a short name, another engine's word."""
    plain = name.lstrip("-").replace("-", "_")
    if plain in arguments.arguments or plain in RESERVED:
        return plain
    short = arguments.aliases.get(plain) or FORMER.get(plain)
    if short:
        return short
    lower = plain.lower()
    return lower if lower in arguments.arguments else plain


def _name_hint(arguments: Table, name: str) -> str:
    """What to do about an argument that this version does not have."""
    known = arguments.arguments
    if (meant := _meant(arguments, name)) in known:
        return f"write {meant}"
    stem, _, inner = meant.partition(".")
    if inner and stem in known:
        return f"write a mapping: {stem}: {{{inner.replace('.', ': {')}: …{'}' * (inner.count('.') + 1)}"
    for prefix, instead in _INVERSES:
        positive = instead + meant.removeprefix(prefix)
        if meant.startswith(prefix) and positive in known and known[positive].kind == "bool":
            return f"write {positive} with the opposite value"
    elsewhere = [v for v in VERSIONS if v != arguments.version and meant in table(v).arguments]
    if elsewhere:
        return f"vLLM {listed(elsewhere)} has it"
    if near := closest(meant, known):
        return f"did you mean {near}?"
    return f"vllm serve --help=all lists the arguments of vLLM {arguments.version}"
