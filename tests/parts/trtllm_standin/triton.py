"""Stand-ins for tritonserver with TensorRT-LLM, and for the mpirun that starts one for each rank."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from argparse import ArgumentParser
from pathlib import Path

from . import machine, serve
from .engine import require_engine
from .machine import RefusedError
from .parser import version

ENSEMBLE = ("ensemble", "postprocessing", "preprocessing", "tensorrt_llm", "tensorrt_llm_bls")
#: Open MPI's own variables.
_RANK, _SIZE = "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"


def mpirun() -> None:
    """`mpirun --allow-run-as-root -n 1 WORD… : -n 1 WORD…`: one process for each part; all end with one."""
    if sys.argv[1:2] != ["--allow-run-as-root"]:
        sys.exit("mpirun has detected an attempt to run as root.")
    parts: list[list[str]] = [[]]
    for word in sys.argv[2:]:
        if word == ":":
            parts.append([])
        else:
            parts[-1].append(word)
    if any(part[:2] != ["-n", "1"] for part in parts):
        sys.exit(f"the stand-in knows -n 1 only: {parts}")
    ranks = [
        subprocess.Popen(part[2:], env={**os.environ, _RANK: str(rank), _SIZE: str(len(parts))})
        for rank, part in enumerate(parts)
    ]
    signal.signal(signal.SIGTERM, lambda _signal, _frame: sys.exit(143))
    try:
        while all(rank.poll() is None for rank in ranks):
            time.sleep(0.05)
    finally:
        for rank in ranks:
            rank.kill()
    sys.exit(max(abs(rank.wait()) for rank in ranks))


def main() -> None:
    """tritonserver, with the options that a launch of TensorRT-LLM's models has."""
    parser = ArgumentParser(prog="tritonserver", allow_abbrev=False)
    parser.add_argument("--model-repository", required=True)
    parser.add_argument("--model-control-mode", choices=("none", "poll", "explicit"), default="none")
    parser.add_argument("--load-model", action="append", default=[])
    for port in ("grpc", "http", "metrics"):
        parser.add_argument(f"--{port}-port", type=int, required=True)
    parser.add_argument("--disable-auto-complete-config", action="store_true")
    parser.add_argument("--backend-config", action="append", default=[])
    arguments = parser.parse_args()
    rank, world = int(os.environ.get(_RANK, "0")), int(os.environ.get(_SIZE, "1"))
    try:
        _require_repository(Path(arguments.model_repository), world)
        if rank:
            while True:  # it loads the engine, and answers nobody
                time.sleep(60)
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
