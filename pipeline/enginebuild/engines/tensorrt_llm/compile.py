"""The command line of `trtllm-build`, and what the library made of it.

Every option is written out with the version's own default: a default that changes between versions (as
`max_batch_size` did, 256 to 2048, from 0.13 to 0.14) is then a difference that a key sees. Never
`--build_config`: it makes the size flags void without a message (0.13 to 1.3.0rc3).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from enginebuild.engines.tensorrt_llm.reserved import BUILD
from enginebuild.engines.tensorrt_llm.settings import Settings, option_words
from enginebuild.engines.tensorrt_llm.table import Option, options
from enginebuild.engines.tensorrt_llm.values import normalised
from enginebuild.errors import StepError
from enginebuild_cache import Json

PROGRAM = "trtllm-build"

#: Values of speculative_decoding_mode in an engine's config.json: an enumeration's numbers.
_SPECULATIVE = {
    1: None,
    2: "draft_tokens_external",
    4: "medusa",
    8: "lookahead_decoding",
    16: "explicit_draft_tokens",
    32: "eagle",
}

#: What an older option became, and the switch that stands for two others.
_PAGED, _CACHE_TYPE = "paged_kv_cache", "kv_cache_type"
_ALL_LOGITS = "gather_all_token_logits"


@dataclass(frozen=True, slots=True)
class Rewrite:
    """A build option that the library set otherwise than it was told."""

    name: str
    asked: Json
    became: Json

    def __str__(self) -> str:
        return f"{self.name}: {_shown(self.asked)} became {_shown(self.became)}"


def build_options(settings: Settings) -> dict[str, Json]:
    """Every build option, in the parser's order: what the recipe says, else the version's default.

    Left out: reserved options, switches that are off, and options that are unset by default. Raises KeyError
    for a name that `check` refuses.
    """
    table = options(settings.version, "build")
    for name in settings.build:
        if name in BUILD or name not in table:
            raise KeyError(name)
    values = {
        name: _normal(option, settings.build.get(name, option.default))
        for name, option in table.items()
        if name not in BUILD
    }
    return {name: value for name, value in values.items() if value is not None}


def _normal(option: Option, value: Json) -> Json:
    """One spelling of one value, None for one that is not written."""
    if option.nargs == "none":
        return True if value is True else None
    return None if value is None else normalised(option, value)


def compile_command(
    settings: Settings,
    checkpoint: PurePosixPath,
    output: PurePosixPath,
    timing_cache_in: PurePosixPath | None,
    timing_cache_out: PurePosixPath,
    workers: int,
) -> tuple[str, ...]:
    """The words that build the engine of `checkpoint` in `output`. Paths are absolute: without one the timing
    cache would land in the current folder. Raises ValueError for a relative path.
    """
    places = {
        "checkpoint_dir": checkpoint,
        "output_dir": output,
        "input_timing_cache": timing_cache_in,
        "output_timing_cache": timing_cache_out,
    }
    for name, path in places.items():
        if path is not None and not path.is_absolute():
            raise ValueError(f"{name} is not absolute: {path}")
    values: dict[str, Json] = {
        **{name: str(path) for name, path in places.items() if path is not None},
        "workers": workers,
        "log_level": "info",
        **build_options(settings),
    }
    table = options(settings.version, "build")
    return (PROGRAM, *(word for name, value in values.items() for word in option_words(table[name], value)))


def workers(settings: Settings, gpus: int) -> int:
    """Processes that build ranks side by side, one GPU each; one GPU builds all ranks, one after another."""
    return max(1, min(settings.world_size, gpus))


def resolved(config_json: bytes) -> Mapping[str, Json]:
    """What the library made of the build options, by the options' names, from an engine's config.json.

    Plugins stand among the others. Raises StepError for what is no engine's config.json.
    """
    build = _build_config(config_json)
    plugins = build.pop("plugin_config", None)
    lora = build.pop("lora_config", None)
    flat = {
        **build,
        **(lora if isinstance(lora, dict) else {}),
        **(plugins if isinstance(plugins, dict) else {}),
    }
    flat.pop("dtype", None)  # the plugins' own, repeated from the checkpoint
    return {name: _said(name, value) for name, value in flat.items()}


def _build_config(config_json: bytes) -> dict[str, Any]:
    try:
        build = json.loads(config_json)["build_config"]
    except (ValueError, KeyError, TypeError):
        build = None
    if not isinstance(build, dict):
        raise StepError(
            "the engine's config.json has no build_config",
            "trtllm-build writes one (0.12 and later); the builder's image may hold another program",
        )
    return dict(build)


def _said(name: str, value: Json) -> Json:
    """A value as the option would have it."""
    if name == "speculative_decoding_mode" and isinstance(value, int):
        return _SPECULATIVE.get(value, value)
    if name == "kv_cache_type" and isinstance(value, str):
        return value.rpartition(".")[2].lower()
    return value


def rewritten(asked: Mapping[str, Json], became: Mapping[str, Json]) -> tuple[Rewrite, ...]:
    """The options of `build_options` that `resolved` shows otherwise, in the order asked.

    `auto` leaves the choice to the library, and an option that config.json does not show is not compared.
    """
    shown = {_PAGED: became[_CACHE_TYPE] == "paged"} if became.get(_CACHE_TYPE) else {}
    seen = {**became, **shown}
    found = [
        Rewrite(name, value, seen[name])
        for name, value in asked.items()
        if value != "auto" and name in seen and not _same(value, seen[name])
    ]
    if asked.get(_ALL_LOGITS) is True and became.get("gather_context_logits") is False:
        found.append(Rewrite(_ALL_LOGITS, True, False))
    return tuple(found)


def _same(asked: Json, became: Json) -> bool:
    if asked in ("enable", "disable"):
        return became in ((True, "enable", "auto") if asked == "enable" else (False, None, "disable", "none"))
    if isinstance(asked, str) and isinstance(became, str):
        return asked.lower() == became.lower()
    return type(asked) is type(became) and asked == became


def _shown(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value)
