"""What vLLM's parser lets through and a baked image cannot use: files that are not in it, names that do not
exist, arguments that need one another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from enginebuild.engines.vllm.table import Argument
from enginebuild.engines.vllm.values import Path, readable_int
from enginebuild.engines.vllm.words import one_of, shown
from enginebuild.errors import Problem
from enginebuild_cache import Json

Args = Mapping[str, Json]

_OFFLINE = "the image holds one model and is offline"
_IN_THE_IMAGE = "give the absolute path of a file that the base image or a mounted volume has"

#: Arguments that add names to another argument's.
_PLUGIN_OF = {"reasoning_parser": "reasoning_parser_plugin", "tool_call_parser": "tool_parser_plugin"}
#: vLLM's own out-of-tree plugins (vllm-bnb-plugin, vllm-gguf-plugin); a base image may have them.
_PLUGIN_NAMES = {"quantization": {"bitsandbytes", "gguf"}, "load_format": {"bitsandbytes", "gguf"}}

_PATHS = ("hf_config_path", "reasoning_parser_plugin", "spec_model", "tokenizer", "tool_parser_plugin")
#: vLLM takes a chat template with one of these for the template itself.
_INLINE_TEMPLATE = frozenset("{}\n")
_NO_DRAFTER = ("ngram", "[ngram]")

_LORA_KEYS = ("name", "path", "base_model_name")


def name_problems(argument: Argument, value: Json, args: Args, path: Path) -> Iterator[Problem]:
    """A name that this vLLM does not have, of a parser, a quantization, a format."""
    if not argument.known or not isinstance(value, str) or value in argument.known:
        return
    if value in _PLUGIN_NAMES.get(argument.name, ()) or _PLUGIN_OF.get(argument.name) in args:
        return
    if value.startswith("-") or value == "":
        return
    yield Problem(path, f"{argument.name} has no {shown(value)}", one_of(value, argument.known))


def file_problems(name: str, value: Json, path: Path) -> Iterator[Problem]:
    """A file or folder that will not be in the image."""
    if isinstance(value, str) and value and name in _PATHS:
        yield from _must_be_absolute(name, value, path)
    elif name in _OF_ONE:
        yield from _OF_ONE[name](value, path)


def _must_be_absolute(name: str, value: str, path: Path) -> Iterator[Problem]:
    if not value.startswith(("/", "-")):
        yield Problem(path, f"{name} {shown(value)} will not be there: {_OFFLINE}", _IN_THE_IMAGE)


def _generation_config(value: Json, path: Path) -> Iterator[Problem]:
    if isinstance(value, str) and value and value not in ("auto", "vllm"):
        for problem in _must_be_absolute("generation_config", value, path):
            hint = f"auto (the model's own), vllm (none), or {_IN_THE_IMAGE}"
            yield Problem(problem.path, problem.message, hint)


def _chat_template(value: Json, path: Path) -> Iterator[Problem]:
    if isinstance(value, str) and value and _INLINE_TEMPLATE.isdisjoint(value):
        yield from _must_be_absolute("chat_template", value, path)


def _speculative_config(value: Json, path: Path) -> Iterator[Problem]:
    drafter = value.get("model") if isinstance(value, dict) else None
    if isinstance(drafter, str) and drafter not in _NO_DRAFTER:
        yield from _must_be_absolute("speculative_config.model", drafter, (*path, "model"))


def _load_format(value: Json, path: Path) -> Iterator[Problem]:
    if value == "dummy":
        yield Problem(
            path, "load_format dummy serves random weights", "remove the line: auto loads the model"
        )


def _host(value: Json, path: Path) -> Iterator[Problem]:
    if isinstance(value, str) and value and value not in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        message = f"host {shown(value)} would shut the container's own port to the outside"
        yield Problem(path, message, "remove the line (0.0.0.0), and limit who reaches it with docker run -p")


def _port(value: Json, path: Path) -> Iterator[Problem]:
    if isinstance(value, int) and not isinstance(value, bool) and not 1 <= value <= 65535:
        yield Problem(path, f"port must be from 1 to 65535, not {value}")


_OF_ONE: Mapping[str, Callable[[Json, Path], Iterator[Problem]]] = {
    "chat_template": _chat_template,
    "generation_config": _generation_config,
    "host": _host,
    "load_format": _load_format,
    "port": _port,
    "speculative_config": _speculative_config,
}


def lora_problems(value: Json, path: Path) -> Iterator[Problem]:
    """LoRA modules, in the two forms that a recipe may have: `name=/path`, and a mapping."""
    if value is None or value == [] or value == "":
        yield Problem(path, "lora_modules is empty", "leave the line out")
        return
    for index, item in enumerate(value) if isinstance(value, list) else [(None, value)]:
        yield from _one_lora(item, path if index is None else (*path, index))


def _one_lora(item: Json, path: Path) -> Iterator[Problem]:
    if isinstance(item, dict):
        yield from _lora_mapping(item, path)
        return
    name, _, folder = item.partition("=") if isinstance(item, str) else ("", "", "")
    if not (name and folder) or name.startswith("-") or "," in str(item) or "{" in name:
        message = f"lora_modules takes name=/path or a mapping with name and path, not {shown(item)}"
        yield Problem(path, message)
    else:
        yield from _must_be_absolute("lora_modules path", folder, path)


def _lora_mapping(item: dict[str, Json], path: Path) -> Iterator[Problem]:
    for key, value in item.items():
        if key not in _LORA_KEYS:
            yield Problem((*path, key), f"a LoRA module has no {key!r}", one_of(key, _LORA_KEYS), on_key=True)
        elif not isinstance(value, str) or not value:
            yield Problem((*path, key), f"a LoRA module's {key} is text, not {shown(value)}")
        elif key == "path":
            yield from _must_be_absolute("lora_modules path", value, (*path, key))
    for key in ("name", "path"):
        if key not in item:
            yield Problem(path, f"a LoRA module needs a {key}", "name=/path, or a mapping with name and path")


def _step_problems(args: Args, path: Path) -> Iterator[Problem]:
    """How much one step takes (config/scheduler.py, verify_max_model_len, vLLM 0.32.0 and 0.33.0)."""
    tokens, length = _whole(args, "max_num_batched_tokens"), _whole(args, "max_model_len")
    sequences, threshold = _whole(args, "max_num_seqs"), _whole(args, "long_prefill_token_threshold")
    place = (*path, "max_num_batched_tokens")
    if tokens and length and tokens < length and args.get("enable_chunked_prefill") is False:
        message = (
            f"max_num_batched_tokens {tokens} is less than max_model_len {length}, and "
            "enable_chunked_prefill is false: a long prompt would fit no step"
        )
        yield Problem(
            place, message, f"write max_num_batched_tokens: {length}, or enable_chunked_prefill: true"
        )
    elif tokens and sequences and tokens < sequences:
        message = f"max_num_batched_tokens {tokens} is less than max_num_seqs {sequences}"
        yield Problem(place, message, f"write max_num_batched_tokens: {sequences}, or max_num_seqs: {tokens}")
    if threshold and length and threshold > length:
        message = f"long_prefill_token_threshold {threshold} is more than max_model_len {length}"
        hint = f"write long_prefill_token_threshold: {length}"
        yield Problem((*path, "long_prefill_token_threshold"), message, hint)


def _whole(args: Args, name: str) -> int | None:
    """A number as vLLM reads it, None for none and for what the length is to be found by."""
    value = args.get(name)
    found = readable_int(value) if isinstance(value, str) else value
    return found if isinstance(found, int) and not isinstance(found, bool) and found > 0 else None


def relation_problems(args: Args, path: Path) -> Iterator[Problem]:
    """Arguments that need, or exclude, one another; vLLM says so only when the server starts.

    Facts: validate_parsed_serve_args of vLLM 0.32.0 and 0.33.0.
    """
    for name, needed, value in (
        ("enable_auto_tool_choice", "tool_call_parser", "<parser>"),
        ("enable_log_outputs", "enable_log_requests", "true"),
        ("lora_modules", "enable_lora", "true"),
    ):
        if args.get(name) and not args.get(needed):
            yield Problem((*path, name), f"{name} needs {needed}", f"add {needed}: {value}", on_key=True)
    if args.get("enable_per_request_metrics") is True and args.get("disable_log_stats") is True:
        message = "enable_per_request_metrics needs the statistics that disable_log_stats turns off"
        yield Problem((*path, "enable_per_request_metrics"), message, "remove one of the two", on_key=True)
    yield from _step_problems(args, path)
    interval = args.get("sse_keep_alive_interval")
    if isinstance(interval, int) and interval < 0:
        message = f"sse_keep_alive_interval must be at least 0, not {interval}"
        yield Problem((*path, "sse_keep_alive_interval"), message, "0 sends no keep-alive comments")
