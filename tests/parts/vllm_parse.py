"""Run by a vLLM's own python: what its real command line makes of configuration files.

    python vllm_parse.py [--engine MODEL] FILE …

Prints one JSON object for each FILE: `{"args": …}`, the parsed arguments, those that JSON can hold. With
`--engine`, the model replaces the file's and `engine` holds what its engine configuration, made as a server
makes it, then says of each argument that it keeps. A refusal is `{"refused": "<message>"}`. A FILE that ends
in `.json` holds the words after `vllm serve` instead.

vLLM is asked by the program that the step `validate` runs.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

_SCRIPTS = Path(__file__).parents[2] / "pipeline" / "enginebuild" / "engines" / "vllm" / "scripts"


def _validate() -> Any:
    """The program beside which nothing else is imported; it is no module of the python that runs here."""
    sys.path.insert(0, str(_SCRIPTS))
    return importlib.import_module("validate")


def _command_line() -> Any:
    """The parser of `vllm`, with `serve` below it as in the real program."""
    return _validate().command_line()


def _json_able(value: Any) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


def _lora(module: Any) -> dict[str, Any]:
    return {key: value for key, value in vars(module).items() if value}


def _engine(validate: Any, parser: Any, args: Any) -> dict[str, Any]:
    config, group_of = validate.engine_config(args), validate.groups(parser)
    found = {}
    for name in vars(args):
        try:
            found[name] = validate.effective(config, group_of, name)
        except KeyError:  # the front end's
            continue
    return found


def _parsed(validate: Any, parser: Any, file: str, model: str | None) -> dict[str, Any]:
    words = [*([model] if model else []), "--config", file]
    if file.endswith(".json"):
        words = json.loads(Path(file).read_text("utf-8"))
    try:
        args = validate.parsed(parser, words)
        values = dict(vars(args))
        values["lora_modules"] = [_lora(module) for module in values["lora_modules"] or ()]
        out: dict[str, Any] = {"args": {name: value for name, value in values.items() if _json_able(value)}}
        if model is not None and not file.endswith(".json"):
            args.model = model
            out["engine"] = _engine(validate, parser, args)
    except validate.RefusedError as error:
        return {"refused": str(error)}
    return out


def main() -> None:
    files = sys.argv[1:]
    model = None
    if files[:1] == ["--engine"]:
        model, files = files[1], files[2:]
    out, sys.stdout = sys.stdout, sys.stderr  # vLLM logs to standard output
    validate = _validate()
    parser = validate.command_line()
    results = [_parsed(validate, parser, file, model) for file in files]
    out.write(json.dumps(results))


if __name__ == "__main__":
    main()
