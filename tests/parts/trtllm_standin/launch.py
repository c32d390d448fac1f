"""Stand-in for /app/scripts/launch_triton_server.py and the server that it starts."""

from __future__ import annotations

import json
import re
from argparse import ArgumentParser
from pathlib import Path

from . import machine, serve
from .engine import require_engine
from .machine import RefusedError
from .parser import version

ENSEMBLE = ("ensemble", "postprocessing", "preprocessing", "tensorrt_llm", "tensorrt_llm_bls")
_PORT = 8000


def main() -> None:
    """What the installed script calls."""
    parser = ArgumentParser(prog="launch_triton_server.py")
    parser.add_argument("--world_size", type=int, default=1)
    parser.add_argument("--model_repo", required=True)
    parser.add_argument("--http_port", type=int, default=_PORT)
    parser.add_argument("--tensorrt_llm_model_name", default="tensorrt_llm")
    arguments, _more = parser.parse_known_args()
    try:
        _require_repository(Path(arguments.model_repo), arguments.world_size)
        serve.listen("0.0.0.0", arguments.http_port, "ensemble")
    except RefusedError as refusal:
        machine.end(refusal)


def _require_repository(folder: Path, world: int) -> None:
    models = sorted(path.name for path in folder.iterdir() if path.is_dir())
    for name in models:
        config = folder / name / "config.pbtxt"
        if not config.is_file() or not (folder / name / "1").is_dir():
            raise RefusedError("InvalidArgument", f"{name}: no config.pbtxt, or no version 1")
        require_filled(config)
    if models == ["tensorrt_llm"]:
        _require_llmapi(folder / "tensorrt_llm" / "1" / "model.yaml", world)
    elif tuple(models) == ENSEMBLE:
        _require_ensemble(folder / "tensorrt_llm" / "config.pbtxt", world)
    else:
        raise RefusedError("InvalidArgument", f"neither an ensemble nor an llmapi model: {models}")


def require_filled(config: Path) -> None:
    """Placeholders outside quoted parameters do not parse; quoted ones reach the backend as they are."""
    text = config.read_text()
    left = re.findall(r"(?<!\")\$\{\w+\}", text)
    if left:
        raise RefusedError("InvalidArgument", f"failed to read text proto from {config}: {left[0]}")


def _require_ensemble(config: Path, world: int) -> None:
    found = re.search(r'key: "gpt_model_path"\s*value: \{\s*string_value: "([^"]*)"', config.read_text())
    engine = Path(found[1] if found else "")
    document = json.loads((engine / "config.json").read_text())
    built = document["pretrained_config"]["mapping"]["world_size"]
    if built != world:
        raise RefusedError("AssertionError", f"the engine is built for {built} ranks, and MPI has {world}")
    gpu, *_ = machine.gpus()
    for rank in range(built):
        require_engine(engine / f"rank{rank}.engine", version(), gpu.sm)


def _require_llmapi(path: Path, world: int) -> None:
    settings = serve.read_yaml(str(path))
    triton = settings.pop("triton_config", None)
    if not isinstance(triton, dict) or not {"max_batch_size", "decoupled"} <= set(triton):
        raise RefusedError("KeyError", "'triton_config': max_batch_size and decoupled are both needed")
    serve.require_keys(settings)
    asked = settings.get("tensor_parallel_size", 1) * settings.get("pipeline_parallel_size", 1)
    if asked > len(machine.gpus()):
        raise RefusedError("RuntimeError", f"world size {asked} needs {asked} GPUs; MPI has {world}")
