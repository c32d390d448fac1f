"""`kill -9` at random moments of a build: a rerun finishes, and the cache is sound.

The model is fetched over real HTTP and slowly enough that the moments fall into every step: resolving, both
downloads, packing, writing the layout.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from parts import cli, recipes
from parts.checkpoints import write_checkpoint
from parts.hub_server import Fault, HubServer

KILLS = 25
SHARD = 12 << 20  # bytes
LOST = 6 << 20  # bytes in the buffers of sockets and of the killed process, of both shards


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    root = tmp_path_factory.mktemp("hub")
    write_checkpoint(root / "org" / "tiny", shards=2, shard_size=SHARD)
    with HubServer(root) as server:
        server.faults.append(Fault("slow", "*.safetensors", times=None, seconds=0.004))
        yield server


@pytest.fixture(scope="module")
def expected(hub: HubServer, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, float]:
    """The digest of a build that nobody disturbs, and how long it takes."""
    folder = tmp_path_factory.mktemp("undisturbed")
    start = time.monotonic()
    done = build(folder, hub).ok()
    return done.digest, time.monotonic() - start


def words(folder: Path) -> list[str | Path]:
    recipe = folder / "tiny.yaml"
    if not recipe.exists():
        recipes.write(folder, "hf://org/tiny@main", extra="  tags: [latest]\n")
    return ["run", recipe, "--cache-dir", folder / "cache", "--output", folder / "out", "--json"]


def build(folder: Path, hub: HubServer) -> cli.Ended:
    return cli.enginebuild(*words(folder), env={"HF_ENDPOINT": hub.endpoint})


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(KILLS))
def test_a_rerun_after_kill_finishes(
    seed: int, tmp_path: Path, hub: HubServer, expected: tuple[str, float]
) -> None:
    digest, seconds = expected
    process = cli.start(*words(tmp_path), env={"HF_ENDPOINT": hub.endpoint})
    time.sleep(random.Random(seed).uniform(0.0, seconds))
    process.send_signal(signal.SIGKILL)
    killed = cli.end(process)

    again = build(tmp_path, hub).ok()
    assert again.digest == digest, killed.stderr
    verified = cli.enginebuild("cache", "verify", "--cache-dir", tmp_path / "cache").ok()
    assert verified.stderr.endswith(" 0 damaged\n")
    image = cli.enginebuild("inspect", f"oci:{tmp_path / 'out'}:latest", "--json").ok().document
    assert image["digest"] == digest


def test_after_a_kill_no_finished_file_is_fetched_again(tmp_path: Path, hub: HubServer) -> None:
    hub.requests.clear()
    process = cli.start(*words(tmp_path), env={"HF_ENDPOINT": hub.endpoint})
    deadline = time.monotonic() + 60
    while hub.bytes_sent("*-00001-of-*") < SHARD // 2:
        assert time.monotonic() < deadline, "the download never began"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    cli.end(process)

    build(tmp_path, hub).ok()
    # What the killed process had received and not yet written comes again, and nothing else.
    assert hub.bytes_sent("*.safetensors") <= 2 * SHARD + LOST
