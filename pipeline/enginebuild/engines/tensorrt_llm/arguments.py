"""engine.build and engine.runtime against the tables of their version."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from enginebuild.engines.secrets import secret_problem
from enginebuild.engines.tensorrt_llm import reserved, rules
from enginebuild.engines.tensorrt_llm.asked import Asked, Values
from enginebuild.engines.tensorrt_llm.reserved import Reserved
from enginebuild.engines.tensorrt_llm.table import KEYS_OF, Option, holders, keys, options, table
from enginebuild.engines.tensorrt_llm.values import Path, key_problems, option_problems
from enginebuild.engines.tensorrt_llm.versions import Release, spans
from enginebuild.engines.words import closest, listed
from enginebuild.errors import Problem
from enginebuild_cache import Json


def argument_problems(asked: Asked) -> list[Problem]:
    """engine.build and engine.runtime, option by option, and then how they fit together."""
    found = [*_build_problems(asked), *_runtime_problems(asked)]
    broken = {problem.path[:3] for problem in found}
    return found + [problem for problem in _relations(asked, broken) if problem.path[:3] not in broken]


def _sound(values: Values, place: Path, broken: set[Path]) -> Values:
    return {name: value for name, value in values.items() if (*place, name) not in broken}


def _relations(asked: Asked, broken: set[Path]) -> Iterator[Problem]:
    build, runtime = (
        _sound(asked.build, rules.BUILD, broken),
        _sound(asked.runtime, rules.RUNTIME, broken),
    )
    tensor, pipeline = (asked.values.get(f"{kind}_parallel_size") for kind in ("tensor", "pipeline"))
    if asked.mode == "engine":
        known = options(asked.release.version, "build")
        yield from rules.build_problems(asked.release, known, build, asked.compute_capability)
        yield from rules.size_problems(known, build, runtime)
    else:
        yield from rules.yaml_problems(runtime)
    if isinstance(tensor, int) and isinstance(pipeline, int):
        yield from rules.parallel_problems(runtime, tensor, pipeline)


def _build_problems(asked: Asked) -> Iterator[Problem]:
    if asked.mode != "engine":
        return
    version = asked.release.version
    known = options(version, "build")
    for name, value in asked.build.items():
        path, meant = (*rules.BUILD, name), _meant(name, known)
        if problem := _reserved(reserved.BUILD, meant, path):
            yield problem
        elif name not in known:
            yield _no_option(asked.release, "trtllm-build", "build", name, path)
        elif name == "paged_kv_cache" and "kv_cache_type" in known:
            message = "paged_kv_cache is deprecated from TensorRT-LLM 0.13.0 on: kv_cache_type counts"
            yield Problem(path, message, "write kv_cache_type: paged, or continuous", on_key=True)
        else:
            yield from _value_problems("build", known[name], value, path)


def _value_problems(command: str, option: Option, value: Json, path: Path) -> Iterator[Problem]:
    """What is wrong with a value, and for a choice of other versions, which versions they are."""
    for problem in option_problems(option, value, path):
        versions = _choosers(command, option, value) if option.choices else []
        yield replace(problem, hint=_have(versions)) if versions else problem


def _choosers(command: str, option: Option, value: Json) -> list[str]:
    """The versions that have a choice."""
    others = {version: options(version, command)[option.name] for version in holders(command, option.name)}
    return [version for version, other in others.items() if isinstance(value, str) and value in other.choices]


def _runtime_problems(asked: Asked) -> Iterator[Problem]:
    for name, value in asked.runtime.items():
        if problem := secret_problem(value, (*rules.RUNTIME, name), name):
            yield problem
            return
    if asked.mode == "pytorch":
        yield from _yaml_problems(asked)
    elif asked.server == "triton":
        yield from _triton_problems(asked)
    elif asked.server == "trtllm-serve" and has_serve(asked.release):
        yield from _serve_problems(asked)


def has_serve(known: Release) -> bool:
    try:
        return bool(options(known.version, "serve"))
    except KeyError:
        return False


def _yaml_problems(asked: Asked) -> Iterator[Problem]:
    known = keys(asked.release.version)
    rest = {}
    for name, value in asked.runtime.items():
        path, meant = (*rules.RUNTIME, name), _meant(name, known)
        if problem := _reserved(reserved.YAML, meant, path):
            yield problem
        else:
            rest[name] = value
    stands = f"trtllm-serve's YAML (of TensorRT-LLM {KEYS_OF})"
    yield from key_problems(known, rest, rules.RUNTIME, "", stands)


def _serve_problems(asked: Asked) -> Iterator[Problem]:
    known = options(asked.release.version, "serve")
    for name, value in asked.runtime.items():
        path, meant = (*rules.RUNTIME, name), _meant(name, known)
        if problem := _reserved(reserved.SERVE, meant, path):
            yield problem
        elif name not in known:
            yield _no_option(asked.release, "trtllm-serve", "serve", name, path)
        else:
            yield from _value_problems("serve", known[name], value, path)


def _triton_problems(asked: Asked) -> Iterator[Problem]:
    known = reserved.TRITON_OPTIONS
    for name, value in asked.runtime.items():
        path = (*rules.RUNTIME, name)
        if problem := _reserved(reserved.TRITON, _meant(name, known), path):
            yield problem
        elif name not in known:
            near = closest(name, known)
            hint = f"did you mean {near}?" if near else f"one of: {listed(known)}"
            message = f"Triton's templates are not known to have a key {name!r}"
            yield Problem(path, message, hint, on_key=True)
        else:
            yield from option_problems(known[name], value, path)


def _reserved(answers: Mapping[str, Reserved], meant: str, path: Path) -> Problem | None:
    answer = answers.get(meant)
    if answer is None:
        return None
    message, hint = (text.replace("{name}", meant) for text in (answer.message, answer.hint))
    return Problem(path, message, hint, on_key=True)


def _meant(name: str, known: Mapping[str, object]) -> str:
    """The option behind another spelling: dashes, capitals."""
    plain = name.lstrip("-").replace("-", "_")
    return plain.lower() if plain.lower() in known else plain


def _no_option(release: Release, program: str, command: str, name: str, path: Path) -> Problem:
    """An option that this version has not, or is not known to have: the tables around it differ."""
    known = options(release.version, command)
    meant = _meant(name, known)
    between = meant not in known and any(_in_table(each, command, meant) for each in release.tables)
    verb = "is not known to have an" if between else "has no"
    message = f"{program} of TensorRT-LLM {release.version} {verb} option {name!r}"
    return Problem(path, message, _name_hint(program, command, release.version, meant), on_key=True)


def _in_table(name: str, command: str, option: str) -> bool:
    try:
        return option in table(name, command)
    except KeyError:
        return False


def _name_hint(program: str, command: str, version: str, meant: str) -> str:
    """What to do about an option that this version does not have under this name."""
    known = options(version, command)
    if meant in known:
        return f"write {meant}"
    if longer := next((option.name for option in known.values() if f"--{meant}" in option.flags), None):
        return f"write {longer}"
    have = _have(holders(command, meant))
    if not have and _in_table("0.11.0", command, meant):
        have = "0.11.0 was the last known to have it"
    advice = reserved.GONE.get(meant, "") if command == "build" else ""
    if have or advice:
        return "; ".join(filter(None, (advice, have)))
    near = closest(meant, known)
    return f"did you mean {near}?" if near else f"{program} --help lists the options of a version"


def _have(versions: Sequence[str]) -> str:
    if not versions:
        return ""
    return f"TensorRT-LLM {spans(versions)} {'has' if len(versions) == 1 else 'have'} it"
