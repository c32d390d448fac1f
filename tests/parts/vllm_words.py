"""Run by a vLLM's own python: what its real command line makes of words.

    python vllm_words.py FILE

FILE holds a JSON list of lists of words, those after `vllm serve`. Prints a JSON list: `{"args": …}` for
each, or `{"refused": "<message>"}`, as vllm_parse.py does for configuration files.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import sys
from pathlib import Path
from typing import Any

_BESIDE = Path(__file__).with_name("vllm_parse.py")


def _vllm_parse() -> Any:
    """The file beside this one; it is no module of the python that runs here."""
    spec = importlib.util.spec_from_file_location("vllm_parse", _BESIDE)
    if spec is None or spec.loader is None:
        raise ImportError(str(_BESIDE))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _parsed(parse: Any, parser: Any, words: list[str]) -> dict[str, Any]:
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            values = dict(vars(parser.parse_args(["serve", *words])))
    except SystemExit:
        return {"refused": errors.getvalue().strip().splitlines()[-1]}
    values["lora_modules"] = [parse._lora(module) for module in values["lora_modules"] or ()]
    return {
        "args": {name: value if parse._json_able(value) else str(value) for name, value in values.items()}
    }


def main() -> None:
    commands = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    parse = _vllm_parse()
    out, sys.stdout = sys.stdout, sys.stderr  # vLLM logs to standard output
    parser = parse._command_line()
    out.write(json.dumps([_parsed(parse, parser, words) for words in commands]))


if __name__ == "__main__":
    main()
