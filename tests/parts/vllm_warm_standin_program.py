#!/usr/bin/python3
"""Stands in for a `vllm serve` that compiles: a compile cache in VLLM_CACHE_ROOT, and vLLM's words about it.

It has the files of vLLM 0.32.0 with their modes, and a key without served name, ports and fingerprint. Then
the other stand-in serves. `standin_fault` in the model's config.json:

    warm-none        leaves no cache
    warm-elsewhere   has another key at every start
    warm-recompiles  finds its cache and compiles new code all the same
    warm-dies        ends when it finds a cache
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from pathlib import Path

ROOT = Path(os.environ.get("VLLM_CACHE_ROOT") or Path.home() / ".cache" / "vllm")
FAULT = str(json.loads(Path("/model/config.json").read_text()).get("standin_fault", ""))
FREE = ("served-model-name", "host", "port", "fingerprint")
IGNORED = ("VLLM_CACHE_ROOT", "VLLM_FORCE_AOT_LOAD", "VLLM_NO_USAGE_STATS")
SERVER = "/opt/standin/vllm-server"


def key(words: list[str]) -> str:
    config = Path(words[words.index("--config") + 1]).read_text()
    lines = [line for line in config.splitlines() if not line.startswith((*FREE, "#"))]
    variables = [f"{k}={v}" for k, v in sorted(os.environ.items()) if k[:5] == "VLLM_" and k not in IGNORED]
    chance = [os.urandom(8).hex()] if FAULT == "warm-elsewhere" else []
    return hashlib.sha256("\n".join([*lines, *variables, *chance]).encode()).hexdigest()


def write(path: Path, content: bytes, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)


def compile_all(folder: Path, more: str = "") -> None:
    write(folder / "inductor_cache" / "24" / f"c24{more}.main.cpp", b"// code")
    write(folder / "inductor_cache" / "24" / f"c24{more}.main.so", b"\x7fELF code", 0o755)
    write(folder / "inductor_cache" / "locks" / f"c24{more}.lock", b"")
    write(folder / "rank_0_0" / "model", b"artifact", 0o600)
    print(f"INFO: saved AOT compiled function to {folder}/rank_0_0/model", flush=True)


def main(words: list[str]) -> None:
    forced, gpu = os.environ.get("VLLM_FORCE_AOT_LOAD") == "1", shutil.which("nvidia-smi") is not None
    folder = ROOT / "torch_compile_cache" / "torch_aot_compile" / key(words)
    model = folder / "rank_0_0" / "model"
    if model.exists():
        model.read_bytes()
        if FAULT == "warm-dies":
            raise SystemExit(
                "RuntimeError: CUDA error: no kernel image is available for execution on the device"
            )
        if gpu:
            print(f"INFO: [backbone] Directly load AOT compilation from path {model}", flush=True)
        else:
            reason = "'function' object has no attribute 'finalize_loading'"
            print(
                f"WARNING: Compiling model again due to a load failure from {model}, reason: {reason}",
                flush=True,
            )
        if FAULT == "warm-recompiles":
            compile_all(folder, "new")
        write(folder / "inductor_cache" / "aotautograd" / os.urandom(4).hex(), b"index")
    elif forced:
        raise SystemExit(f"FileNotFoundError: [Errno 2] No such file or directory: '{model}'")
    elif FAULT != "warm-none":
        compile_all(folder)
    write(ROOT / "modelinfos" / "llama.json", b"{}", 0o600)
    write(ROOT / "gpu_p2p_access_cache_for_0,1.json", b"{}")
    write(ROOT / "assets" / "picture.png", b"png")
    (ROOT / "modelinfos" / "link").unlink(missing_ok=True)
    (ROOT / "modelinfos" / "link").symlink_to("/var/elsewhere")


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        main(sys.argv[2:])
    os.execv(SERVER, [SERVER, *sys.argv[1:]])
