"""The configuration file of `vllm serve --config`, from typed fields.

vLLM turns that file into command-line words, so not every YAML means what it says. Traps measured with vLLM
0.32.0 (the code is the same in 0.33.0): `flag: false` is ignored without a message, so a false is written as
`no-flag: true`; `key: null` becomes the word None; an empty list is dropped; a list of mappings becomes
Python's repr; a list for an argument that takes one JSON text becomes many words; a value that begins with
`-` is taken for an option.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from enginebuild.engines.vllm.table import Argument, table
from enginebuild.yaml_text import emit_lines, emit_value
from enginebuild_cache import Json

#: Where the model is in every image. Fixed: vLLM's compile cache is keyed on it.
MODEL_PATH = "/model"
#: Where the rendered file is in every image; vLLM insists on the ending.
CONFIG_PATH = "/etc/enginebuild/vllm.yaml"
DEFAULT_PORT = 8000


@dataclass(frozen=True, slots=True)
class VllmSettings:
    """All that the file says. `args` have passed `check_arguments` for `version`; they win over the other
    fields.

    `fingerprint` is what every response carries as `system_fingerprint`: `sha256:<the build's key>`.
    """

    version: str
    served_model_name: str
    fingerprint: str
    dtype: str = "auto"
    tensor_parallel_size: int = 1
    pipeline_parallel_size: int = 1
    args: Mapping[str, Json] = field(default_factory=dict)

    @property
    def port(self) -> int:
        """The port that the server listens on, in the container."""
        port = self.args.get("port", DEFAULT_PORT)
        if not isinstance(port, int):
            raise TypeError(f"engine.args.port is {port!r}; check_arguments refuses that")
        return port


def render(settings: VllmSettings) -> bytes:
    """Equal settings give equal bytes. Raises KeyError for a name that `check_arguments` refuses."""
    arguments = table(settings.version).arguments
    pairs = [
        pair for name, value in arguments_of(settings).items() for pair in _pairs(arguments[name], value)
    ]
    head = (
        f"# Written by enginebuild for vLLM {settings.version}: vllm serve --config <this file>\n"
        "# Options on the command line win over these. vLLM ignores flag: false, hence no-flag: true.\n"
    )
    return (head + emit_lines(pairs)).encode()


def arguments_of(settings: VllmSettings) -> dict[str, Json]:
    """All that the file says: ours in a fixed order, then the recipe's by name."""
    ours: dict[str, Json] = {
        "model": MODEL_PATH,
        "served_model_name": settings.served_model_name,
        "dtype": settings.dtype,
        "tensor_parallel_size": settings.tensor_parallel_size,
        "pipeline_parallel_size": settings.pipeline_parallel_size,
        "host": "0.0.0.0",  # noqa: S104 - inside the container; what is published decides who reaches it
        "port": DEFAULT_PORT,
        "generation_config": "auto",
        "fingerprint_mode": "custom",
        "fingerprint_value": settings.fingerprint,
    }
    given = dict(sorted(settings.args.items()))
    return {name: given.get(name, value) for name, value in ours.items()} | {
        name: value for name, value in given.items() if name not in ours
    }


def _pairs(argument: Argument, value: Json) -> Iterator[tuple[str, Json]]:
    """The lines of one argument: one, or none for a false that cannot be said and is the default."""
    if value is False:
        if argument.negatable:
            yield f"no-{argument.option}", True
    elif argument.name == "lora_modules":
        items = value if isinstance(value, list) else [value]
        yield argument.option, [_lora(item) for item in items]
    elif argument.kind == "json_list":
        yield argument.option, emit_value(value)
    else:
        yield argument.option, value


def _lora(item: Json) -> Json:
    """`name=path`, or the JSON text that vLLM needs for more than that."""
    if not isinstance(item, dict):
        return item
    name, path = str(item["name"]), str(item["path"])
    simple = set(item) == {"name", "path"} and not any(mark in f"{name}{path}" for mark in ",={")
    return f"{name}={path}" if simple else emit_value(dict(sorted(item.items())))
