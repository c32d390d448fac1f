"""Peak memory of a whole run with a 2 GB checkpoint: fetch over HTTP, pack, push to a real registry.

    python benchmarks/memory.py            needs docker-registry (Debian) and 7 GB of disk; about a minute

Two shards of 1 GiB come from the tests' Hub-protocol server and go to docker-registry on loopback. The
figure is the kernel's ru_maxrss of the enginebuild process. Exits with 1 above the limit.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from parts import cli, recipes
from parts.checkpoints import write_checkpoint
from parts.hub_server import HubServer
from parts.registry_real import docker_registry

LIMIT = 150.0  # MB
SHARD = 1 << 30  # bytes


def measured(words: list[str], env: dict[str, str]) -> tuple[int, float]:
    """Exit code and peak resident memory in MB of one process."""
    process = subprocess.Popen(cli.argv(*words), env={**os.environ, **env})
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage.ru_maxrss * 1024 / 1e6


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="enginebuild-memory-") as name:
        folder = Path(name)
        write_checkpoint(folder / "hub" / "org" / "model", shards=2, shard_size=SHARD)
        with HubServer(folder / "hub") as hub, docker_registry(folder / "registry") as registry:
            recipe = recipes.write(
                folder, "hf://org/model@main", extra=f"  repository: {registry}/llm/model\n"
            )
            words = ["run", str(recipe), "--push", "--cache-dir", str(folder / "cache")]
            env = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(folder / "hf")}
            first = measured(words, env)
            second = measured(words, env)
    for what, (code, peak) in (("first run", first), ("cached run", second)):
        print(f"{what:<11} exit {code}  peak {peak:6.1f} MB  (limit {LIMIT:.0f} MB)")
    return int(any(code or peak > LIMIT for code, peak in (first, second)))


if __name__ == "__main__":
    sys.exit(main())
