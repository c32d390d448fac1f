"""Run by a vLLM's own python: what its real command line makes of configuration files.

    python vllm_parse.py [--engine MODEL] FILE …

Prints one JSON object for each FILE: `{"args": …}`, the parsed arguments, those that JSON can hold. With
`--engine`, the model replaces the file's and `engine` holds what its engine configuration, made as a server
makes it, then says. A refusal is `{"refused": "<message>"}`.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import sys
from typing import Any

#: Where in vLLM's engine configuration the effective value of an argument is.
_EFFECTIVE = {
    "block_size": "cache_config.block_size",
    "dtype": "model_config.dtype",
    "enable_chunked_prefill": "scheduler_config.enable_chunked_prefill",
    "enable_prefix_caching": "cache_config.enable_prefix_caching",
    "enforce_eager": "model_config.enforce_eager",
    "max_model_len": "model_config.max_model_len",
    "max_num_batched_tokens": "scheduler_config.max_num_batched_tokens",
    "max_num_seqs": "scheduler_config.max_num_seqs",
    "optimization_level": "optimization_level",
    "pipeline_parallel_size": "parallel_config.pipeline_parallel_size",
    "seed": "model_config.seed",
    "served_model_name": "model_config.served_model_name",
    "tensor_parallel_size": "parallel_config.tensor_parallel_size",
}


def _command_line() -> Any:
    """The parser of `vllm`, with `serve` below it as in the real program: its traps depend on that.

    Where the real program cannot be imported (python files of a version without all that it needs), `serve`
    is put there as the real program does it.
    """
    parser = importlib.import_module("vllm.utils.argparse_utils").FlexibleArgumentParser(prog="vllm")
    subparsers = parser.add_subparsers(required=False, dest="subparser")
    try:
        (command,) = importlib.import_module("vllm.entrypoints.cli.serve").cmd_init()
    except ModuleNotFoundError:
        arguments = importlib.import_module("vllm.entrypoints.common.cli_args")
        arguments.make_arg_parser(subparsers.add_parser("serve"))
    else:
        command.subparser_init(subparsers)
    return parser


def _json_able(value: Any) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


def _lora(module: Any) -> dict[str, Any]:
    return {key: value for key, value in vars(module).items() if value}


def _engine(args: Any) -> dict[str, Any]:
    arg_utils = importlib.import_module("vllm.engine.arg_utils")
    config = arg_utils.AsyncEngineArgs.from_cli_args(args).create_engine_config()
    found = {}
    for name, path in _EFFECTIVE.items():
        value = config
        for part in path.split("."):
            value = getattr(value, part)
        found[name] = value if _json_able(value) else str(value)
    return found


def _parsed(parser: Any, file: str, model: str | None) -> dict[str, Any]:
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            args = parser.parse_args(["serve", *([model] if model else []), "--config", file])
    except SystemExit:
        return {"refused": errors.getvalue().strip().splitlines()[-1]}
    values = dict(vars(args))
    values["lora_modules"] = [_lora(module) for module in values["lora_modules"] or ()]
    out: dict[str, Any] = {"args": {name: value for name, value in values.items() if _json_able(value)}}
    if model is not None:
        args.model = model
        try:
            out["engine"] = _engine(args)
        except Exception as error:  # noqa: BLE001 - whatever it is, the test says what it expected
            return {"refused": f"{type(error).__name__}: {error}"}
    return out


def main() -> None:
    files = sys.argv[1:]
    model = None
    if files[:1] == ["--engine"]:
        model, files = files[1], files[2:]
    out, sys.stdout = sys.stdout, sys.stderr  # vLLM logs to standard output
    parser = _command_line()
    results = [_parsed(parser, file, model) for file in files]
    out.write(json.dumps(results))


if __name__ == "__main__":
    main()
