"""Which program a command starts, with what, and in which image: the shell's and Docker's part taken off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from enginebuild.engines.words import closest
from enginebuild.importing.docker import Container, container
from enginebuild.importing.draft import Draft, no_command
from enginebuild.importing.shell import Command, commands, unknown_variables
from enginebuild.recipe.references import holds_tensorrt_llm
from enginebuild.recipe.show import quoted

#: What a user calls a program → our name for it. Modules are those of `python -m`.
PROGRAMS: Mapping[str, str] = {
    "vllm": "vllm serve",
    "vllm.entrypoints.openai.api_server": "vllm serve",
    "vllm.entrypoints.api_server": "vllm serve",
    "vllm.entrypoints.cli.main": "vllm serve",
    "trtllm-build": "trtllm-build",
    "tensorrt_llm.commands.build": "trtllm-build",
    "trtllm-serve": "trtllm-serve",
    "tensorrt_llm.commands.serve": "trtllm-serve",
    "convert_checkpoint.py": "convert_checkpoint.py",
    "quantize.py": "quantize.py",
}
_PYTHON = ("python", "python3")
_SHELLS = ("bash", "sh")
_MPI = ("mpirun", "mpiexec", "trtllm-llmapi-launch", "srun")
_DOCKER = ("docker", "podman", "nerdctl")
#: What runs beside a server and makes no part of it.
_BESIDE = ("cd", "source", ".", "set", "echo", "sleep", "mkdir", "conda", "ulimit", "true", "tee", ":")


@dataclass(frozen=True, slots=True)
class Launch:
    """`program` is one of PROGRAMS' values, `script` where it lies if it is a file. `image` "": none named.

    `volumes` are folders in the container → of the machine; `beside` what else the text would run.
    """

    program: str
    words: tuple[str, ...]
    script: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    image: str = ""
    platform: str = ""
    volumes: Mapping[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()


def launch(text: str) -> Launch:
    """The one known program that a text starts. Raises RecipeError for a text that starts none or two."""
    return only([command for each in [text] for command in commands(each)])


def only(found: Sequence[Command]) -> Launch:
    """The one known program among several commands."""
    launches, beside = [], []
    for command in found:
        started = _started(command)
        if started is None:
            beside.append(" ".join(command.words[:2]))
        else:
            launches.append(started)
    if len(launches) > 1:
        names = " and ".join(each.program for each in launches)
        raise no_command([f"it starts {len(launches)} programs, {names}: give one at a time"])
    if not launches:
        raise no_command([_nothing(found)])
    (one,) = launches
    if mistakes := list(unknown_variables(one.words)):
        raise no_command(mistakes)
    told = [each for each in beside if each.split(" ")[0] not in _BESIDE]
    return replace(one, beside=(*one.beside, *told))


def _nothing(found: Sequence[Command]) -> str:
    if not found:
        return "it is empty"
    first = PurePosixPath(found[-1].words[0]).name
    near = closest(first, PROGRAMS)
    hint = f"did you mean {near}?" if near else "known are vllm serve, trtllm-build and trtllm-serve"
    return f"{quoted(first)} is no program that enginebuild knows; {hint}"


def _started(command: Command) -> Launch | None:
    words = command.words
    name = PurePosixPath(words[0]).name
    if name in _DOCKER:
        return _in_container(command)
    if name in _SHELLS and len(words) > 2 and words[1] in ("-c", "-lc", "-ec"):
        inner = only(commands(words[2]))
        return replace(inner, environment={**command.environment, **inner.environment})
    if name in _MPI:
        return _after_mpi(command)
    if name.rstrip("0123456789.") in _PYTHON or name in _PYTHON:
        return _python(command)
    return _program(name, words[0], words[1:], command.environment)


def _after_mpi(command: Command) -> Launch | None:
    """What mpirun and its like start: the first word that is a known program."""
    for index, word in enumerate(command.words[1:], 1):
        name = PurePosixPath(word).name
        if name in PROGRAMS or name in _PYTHON:
            return _started(replace(command, words=command.words[index:]))
    return None


def _python(command: Command) -> Launch | None:
    words = list(command.words[1:])
    while words and words[0].startswith("-") and words[0] != "-m":
        words.pop(0)
    if words[:1] == ["-m"]:
        words.pop(0)
    if not words:
        return None
    return _program(PurePosixPath(words[0]).name, words[0], tuple(words[1:]), command.environment)


def _program(name: str, path: str, words: Sequence[str], environment: Mapping[str, str]) -> Launch | None:
    program = PROGRAMS.get(name)
    if program is None:
        return None
    rest = tuple(words)
    if program == "vllm serve" and name in ("vllm", "vllm.entrypoints.cli.main"):
        if rest[:1] != ("serve",):
            said = f"vllm {rest[0]}" if rest else "vllm"
            raise no_command([f"{quoted(said)} serves nothing: a recipe is made of vllm serve"])
        rest = rest[1:]
    if program == "trtllm-serve" and rest[:1] == ("serve",):
        rest = rest[1:]
    return Launch(program, rest, path if name.endswith(".py") else "", environment)


def _in_container(command: Command) -> Launch | None:
    words = command.words
    if "run" not in words[1:3]:
        return None
    found = container(words[words.index("run") + 1 :])
    if not found.image:
        raise no_command([f"{words[0]} run names no image"])
    for name, value in list(found.environment.items()):
        if value == f"${name}":
            found.environment[name] = command.environment.get(name, value)
    started = _of_image(found)
    if started is None:
        return None
    return replace(
        started,
        environment={**found.environment, **started.environment},
        image=found.image,
        platform=found.platform,
        volumes=found.volumes,
        options=tuple(dict.fromkeys(found.options)),
    )


def _of_image(found: Container) -> Launch | None:
    words = (found.entrypoint, *found.words) if found.entrypoint else found.words
    first = PurePosixPath(words[0]).name if words else ""
    started = first in (*PROGRAMS, *_SHELLS, *_MPI) or first.rstrip("0123456789.") in _PYTHON
    if started or holds_tensorrt_llm(found.image):
        return _started(Command({}, words)) if words else None
    # vLLM's own images, and most that are made from them: the entry point is the server.
    return Launch("vllm serve", words)


def surroundings(draft: Draft, started: Launch) -> None:
    """What a command says beside its program, and no image can hold."""
    if started.options:
        draft.lose(", ".join(started.options), "chosen when a container starts; no part of an image")
    for command in started.beside:
        draft.lose(command, "runs beside the server: what it installs or changes belongs into image.base")
    if any("{" in inside or inside for inside in started.volumes):
        draft.lose("mounted folders", "mounted when a container starts; the image holds the model itself")
