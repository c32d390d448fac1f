"""The validation ladder: what the vLLM that will serve is asked about a configuration, and what it answers.

Nothing of vLLM is imported here: `scripts/validate.py` runs where that vLLM is installed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import PurePosixPath
from typing import Any, Literal, get_args

from enginebuild.engines.vllm.render import VllmSettings, arguments_of
from enginebuild.engines.vllm.table import Argument, table
from enginebuild.engines.vllm.values import readable_int
from enginebuild.engines.vllm.words import shown
from enginebuild.errors import Problem
from enginebuild.execution import INPUT, OUTPUT, SCRIPTS
from enginebuild_cache import Digest, Json

#: Raised when the same request would be answered otherwise and no program changed.
VALIDATE_VERSION = 1

#: The document that the program leaves.
RESULT = "validation.json"

#: The steps that are read, which are the names of the input folders.
METADATA, CONFIGURE = "metadata", "configure"

#: Rungs in their order, above the first, which is our own table.
Rung = Literal["parser", "config", "render"]
RUNGS: tuple[Rung, ...] = get_args(Rung)

#: What chat templates of every kind take: no system message, turns that alternate, no special words.
MESSAGES: tuple[Mapping[str, str], ...] = (
    {"role": "user", "content": "What is the capital of France?"},
    {"role": "assistant", "content": "Paris."},
    {"role": "user", "content": "And of Italy?"},
)

_REQUEST = "request.json"
_PROGRAMS = ("compare.py", "validate.py")
#: Arguments that are not the recipe's: the path, the port and the key are enginebuild's own.
_OURS = ("model", "fingerprint_mode", "fingerprint_value")
#: Files of a model that hold its weights, whose bytes nothing here asks for.
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack", ".onnx")

_AT_THE_TOP = ("dtype", "tensor_parallel_size", "pipeline_parallel_size")


def is_metadata(path: str) -> bool:
    """Whether a model's file is needed to know how it is served: all but its weights."""
    return PurePosixPath(path).suffix.lower() not in _WEIGHTS


def request(settings: VllmSettings) -> dict[str, Json]:
    """What the program reads: what the recipe asks for, in the form in which vLLM's parser has it."""
    arguments = table(settings.version).arguments
    asked = {
        name: _as_parsed(arguments[name], value)
        for name, value in arguments_of(settings).items()
        if name not in _OURS
    }
    messages: list[Json] = [dict(message) for message in MESSAGES]
    return {"version": settings.version, "asked": asked, "messages": messages}


def _as_parsed(argument: Argument, value: Json) -> Json:
    if argument.kind.startswith("readable_int") and isinstance(value, str):
        number = readable_int(value)
        return value if number is None else number
    if argument.name == "lora_modules":
        return [_lora(item) for item in (value if isinstance(value, list) else [value])]
    return value


def _lora(item: Json) -> Json:
    if not isinstance(item, str):
        return item
    name, _, path = item.partition("=")
    return {"name": name, "path": path}


def scripts(asked: Mapping[str, Json]) -> dict[str, bytes]:
    """The files of SCRIPTS by name: the programs and the request."""
    return {**_programs(), _REQUEST: (json.dumps(asked, indent=1, sort_keys=True) + "\n").encode()}


def _programs() -> dict[str, bytes]:
    folder = files("enginebuild.engines.vllm.scripts")
    return {name: (folder / name).read_bytes() for name in _PROGRAMS}


def command() -> tuple[str, ...]:
    """How the program is started."""
    return (
        *("python3", str(SCRIPTS / "validate.py"), str(SCRIPTS / _REQUEST), str(INPUT / METADATA)),
        *(str(INPUT / CONFIGURE / "vllm.yaml"), str(OUTPUT / RESULT)),
    )


def key_fields(asked: Mapping[str, Json]) -> dict[str, Json]:
    """What decides the answer beside the inputs (model, configuration) and the environment."""
    programs: dict[str, Json] = {name: str(Digest.of(text)) for name, text in sorted(_programs().items())}
    return {"request": dict(asked), "programs": programs}


@dataclass(frozen=True)
class Validation:
    """What vLLM answered. `left_out` says why a rung was not climbed; `problems` contradict the recipe."""

    vllm: str
    climbed: tuple[str, ...]
    left_out: Mapping[str, str]
    differs: Mapping[str, Json]
    tokens: int
    problems: tuple[Problem, ...]

    @property
    def summary(self) -> str:
        """One line for who asked."""
        said = f"vLLM {self.vllm} reads it as it was meant ({', '.join(self.climbed)})"
        return f"{said}, {self.tokens} token ids rendered" if self.tokens else said

    @property
    def notes(self) -> tuple[str, ...]:
        """What is worth knowing beside that, each as one sentence."""
        left = (f"not validated by vLLM's {rung}: {why}" for rung, why in self.left_out.items())
        made = (f"vLLM makes {shown(value)} of {name}" for name, value in self.differs.items())
        return (*left, *made)


def validation(content: bytes, asked: Mapping[str, Json]) -> Validation:
    """The program's document, read. Raises ValueError and KeyError for anything else."""
    document: dict[str, Any] = json.loads(content)
    rungs: dict[str, dict[str, Any]] = document["rungs"]
    values = _mapping(asked["asked"])
    left_out = {name: str(rung["left_out"]) for name, rung in rungs.items() if "left_out" in rung}
    config = rungs.get("config", {})
    wrong = set(config.get("contradicts", ()))
    return Validation(
        str(document.get("vllm", "")),
        tuple(name for name in RUNGS if name in rungs and name not in left_out),
        {name: left_out[name] for name in RUNGS if name in left_out},
        {name: config["arguments"][name] for name in config.get("differs", ()) if name not in wrong},
        len(rungs.get("render", {}).get("token_ids", ())),
        (*_refusals(document, values), *_contradictions(rungs, values)),
    )


def _refusals(document: Mapping[str, Any], asked: Mapping[str, Json]) -> tuple[Problem, ...]:
    unread = document["rungs"].get("parser", {}).get("left_out")
    if unread is not None:
        hint = "run it where that vLLM is: image.base, or the folder of its environment"
        return (Problem(("engine", "validate"), f"vLLM could not be asked: {unread}", hint, on_key=True),)
    refused = document.get("refused")
    if refused is None:
        return ()
    said = sentence(str(refused["said"]))
    rung = str(refused["rung"])
    if rung == "version":
        hint = "run that version, or give engine.version the one that is run"
        return (Problem(("engine", "version"), said, hint),)
    name = _named(said, asked)
    if name is None and rung == "render":
        name = "chat_template" if "chat_template" in asked else None
    return (Problem(_path(name), f"vLLM refuses it ({rung}): {said}", _HINTS[rung], on_key=name is None),)


_HINTS: Mapping[str, str] = {
    "parser": "its own command line does not take the file that this recipe makes",
    "config": "a server with this configuration would not start",
    "render": "a server with this configuration could not answer a chat request",
}


def _contradictions(rungs: Mapping[str, dict[str, Any]], asked: Mapping[str, Json]) -> tuple[Problem, ...]:
    found = []
    for rung in RUNGS:
        answer = rungs.get(rung, {})
        for name in answer.get("contradicts", ()):
            made = shown(answer["arguments"][name])
            message = f"{name} is {shown(asked[name])}, and vLLM makes {made} of it ({rung})"
            found.append(Problem(_path(name), message, f"write {made} if that will do"))
    return tuple(found)


def _path(name: str | None) -> tuple[str, ...]:
    if name is None:
        return ("engine",)
    return (name,) if name in _AT_THE_TOP else ("engine", "args", name)


def sentence(said: str) -> str:
    """What is to be read of an error of vLLM's: of pydantic's lines the one that tells."""
    first, *more = [line.strip() for line in said.splitlines() if line.strip()] or [said]
    if " validation error" in first and more:
        told = next((line for line in more if line.startswith("Value error, ")), ": ".join(more[:2]))
        return re.sub(r" \[type=.*$", "", told).removeprefix("Value error, ")
    return first


def _named(said: str, asked: Mapping[str, Json]) -> str | None:
    """The argument that an error speaks of: the longest name in it, however it is spelled."""
    spoken = re.sub(r"[ -]", "_", said.lower())
    named = [name for name in asked if re.search(rf"(?<![a-z]){name}(?![a-z])", spoken)]
    return max(named, key=len, default=None)


def _mapping(value: Json) -> dict[str, Json]:
    assert isinstance(value, dict)
    return value
