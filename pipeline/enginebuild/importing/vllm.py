"""A recipe from `vllm serve`, `docker run … vllm/vllm-openai` or vLLM's older server module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from enginebuild.engines.vllm.check import check_version
from enginebuild.engines.vllm.table import VERSIONS
from enginebuild.importing.draft import Draft, no_command, texts
from enginebuild.importing.environment import carry_environment
from enginebuild.importing.launch import Launch, surroundings
from enginebuild.importing.model import auth_apart, put_model
from enginebuild.importing.vllm_words import Words, read_words
from enginebuild.recipe import read_foreign, references
from enginebuild.recipe.show import quoted
from enginebuild.recipe.words import DTYPES, PLATFORMS
from enginebuild_cache import Json

ARGS = ("engine", "args")
#: vLLM's arguments that have a key of their own in a recipe.
_AT_THE_TOP = ("tensor_parallel_size", "pipeline_parallel_size")
#: What every image of ours says anyway.
_OURS: Mapping[str, Sequence[Json]] = {"host": ("0.0.0.0", "::"), "port": (8000,)}  # noqa: S104 - ours, too
_DTYPES = {**DTYPES, **{name: name for name in ("auto", "float16", "bfloat16", "float32")}}


def import_serve(started: Launch, version: str | None = None) -> Draft:
    """The draft of a command. Raises RecipeError for one that cannot be understood, with all mistakes."""
    draft = Draft(f"a {'docker run' if started.image else started.program} command")
    chosen = put_engine(draft, started.image, version)
    words = _with_file(chosen, started)
    mistakes = [*words.strangers.values(), *words.mistakes, *_model(draft, words, started)]
    if mistakes:
        raise no_command(mistakes)
    for option, why in (*words.gone.items(), *words.repeated.items()):
        draft.lose(option, why)
    carry(draft, words)
    if started.platform:
        draft.put(("image", "platform"), PLATFORMS.get(started.platform, started.platform))
    carry_environment(draft, started.environment)
    surroundings(draft, started)
    return draft


def put_engine(draft: Draft, image: str, version: str | None) -> str:
    """Write engine and base. The version: what is asked for, the image's, the newest that is known.

    Raises RecipeError for a version that is asked for and not known.
    """
    if version is not None and (problem := check_version(version)):
        raise no_command([f"{problem.message}; {problem.hint}"], "--version cannot be used")
    held = references.vllm_version(f"{image}")
    chosen = version or (held if held in VERSIONS else VERSIONS[-1])
    draft.put(("engine",), {"type": "vllm", "version": chosen})
    draft.put(("image", "base"), _base(draft, image, held, chosen))
    return chosen


def _base(draft: Draft, image: str, held: str, chosen: str) -> str:
    """The image itself where it may hold that version, else vLLM's own of it."""
    own = f"docker.io/vllm/vllm-openai:v{chosen}"
    if not image:
        return own
    if references.base(image) is not None:
        why = "it has no tag" if ":" not in image.rpartition("/")[2] else "it is no reference"
        draft.lose(f"the image {quoted(image)}", f"{why}; image.base is vLLM's own")
        return own
    if held and held != chosen:
        draft.lose(f"vLLM {held} of the image", f"enginebuild knows {' and '.join(VERSIONS)}; it is {chosen}")
        return own
    name = image if "." in image.partition("/")[0] or "/" not in image else f"docker.io/{image}"
    if held:
        return name
    tag = name.rpartition("/")[2].partition(":")[2]
    if name.startswith("docker.io/vllm/vllm-openai:") and tag in ("latest", "nightly"):
        draft.lose(f"the tag {tag} of the image", f"it moves; image.base has the tag of vLLM {chosen}")
        return own
    draft.remark(("image", "base"), f"Which vLLM this image holds is not known here: {chosen} is supposed.")
    return name


def _with_file(version: str, started: Launch) -> Words:
    """The command's words, and before them those of the file that --config names."""
    words = read_words(version, started.words)
    name = words.values.pop("config", None)
    if not isinstance(name, str) or words.mistakes or words.strangers:
        return words
    said = read_foreign(Path(name))
    if not isinstance(said, dict):
        raise no_command([f"{quoted(name)} is no mapping of options to values"])
    before = read_words(version, file_words(said))
    before.mistakes = [f"{name}: {mistake}" for mistake in before.mistakes]
    before.strangers = {key: f"{name}: {mistake}" for key, mistake in before.strangers.items()}
    for key, value in words.values.items():
        before.put(key, value, words.spelled[key])
    before.positional = words.positional
    before.gone |= words.gone
    before.repeated = words.repeated
    return before


def file_words(said: Mapping[str, Json]) -> list[str]:
    """The words that stand for a configuration file. A false counts here, as vLLM's users mean it."""
    from enginebuild.yaml_text import emit_value

    words: list[str] = []
    for key, value in said.items():
        if isinstance(value, bool):
            words.append(f"--{key}" if value else f"--no-{key.replace('_', '-')}")
        elif isinstance(value, list):
            words += [f"--{key}", *(emit_value(v) if isinstance(v, dict) else str(v) for v in value)]
        elif value is not None:
            words.append(f"--{key}={emit_value(value) if isinstance(value, dict) else value}")
    return words


def _model(draft: Draft, words: Words, started: Launch) -> list[str]:
    """Write the model; what is wrong with it."""
    named = words.values.pop("model", None) or words.values.pop("model_tag", None)
    words.values.pop("model_tag", None)
    models = [*([str(named)] if named else []), *words.positional]
    revision = words.values.pop("revision", "")
    if not models:
        return ["it names no model"]
    if len(models) > 1:
        return [f"{quoted(word)} is neither an option nor its value" for word in models[1:]]
    mistake = put_model(draft, models[0], started.volumes, str(revision or ""))
    return [mistake] if mistake else []


def carry(draft: Draft, words: Words) -> None:
    """Arguments to their places, in the order given."""
    values = dict(words.values)
    _dtype(draft, values)
    _same_model(draft, values)
    if values.pop("hf_token", None) is not None:
        draft.lose("--hf-token", "a recipe holds no token: model.auth names the variable that does")
    for name in _AT_THE_TOP:
        if values.get(name, 1) != 1:
            draft.put((name,), values[name], words.spelled.get(name, ""))
        values.pop(name, None)
    for name, value in values.items():
        if value not in _OURS.get(name, ()):
            draft.put((*ARGS, name), value, words.spelled.get(name, ""))


def _dtype(draft: Draft, values: dict[str, Json]) -> None:
    said = values.pop("dtype", None)
    if said is None:
        return
    known = _DTYPES.get(str(said))
    if known is None:
        draft.lose(f"--dtype {said}", "a recipe's dtype is auto, float16, bfloat16 or float32")
    elif known != "auto":
        draft.put(("dtype",), known)


def _same_model(draft: Draft, values: dict[str, Json]) -> None:
    """A tokenizer that is the model's own says nothing; patterns that leave files out are the model's."""
    model = draft.get(("model",))
    source = str(model.get("source") if isinstance(model, dict) else model)
    if values.get("tokenizer") == source.partition("@")[0].removeprefix("hf://"):
        del values["tokenizer"]
    patterns = values.pop("ignore_patterns", None)
    if patterns is not None:
        auth_apart(draft)
        draft.put(("model", "ignore_patterns"), cast("Json", texts(patterns)), "--ignore-patterns")
