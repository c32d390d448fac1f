"""Run by a python that has vLLM: make the engine's configuration of each case, one JSON line of a file each,
and print what vLLM said of it, null for nothing.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path


def main() -> None:
    """The only argument is the file."""
    arguments = importlib.import_module("vllm.engine.arg_utils").EngineArgs
    for line in Path(sys.argv[1]).read_text(encoding="utf-8").splitlines():
        case = json.loads(line)
        said = None
        try:
            arguments(model=case["model"], skip_tokenizer_init=True, **case["args"]).create_engine_config()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what vLLM says
            said = str(error)
        print(json.dumps({"name": case["name"], "said": said}), flush=True)


if __name__ == "__main__":
    main()
