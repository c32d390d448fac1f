"""Eight runs of one recipe at the same time: the work is done once, everybody gets the same image."""

from __future__ import annotations

from pathlib import Path

from parts import cli, recipes
from parts.checkpoints import write_checkpoint
from parts.hub_server import Fault, HubServer

RUNS = 8
SHARD = 4 << 20


def test_one_fetch_and_equal_digests(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "hub" / "org" / "tiny", shards=2, shard_size=SHARD)
    recipe = recipes.write(tmp_path, "hf://org/tiny@main")
    with HubServer(tmp_path / "hub") as hub:
        hub.faults.append(Fault("slow", "*.safetensors", times=None, seconds=0.02))
        words: list[str | Path] = [
            "run",
            recipe,
            "--cache-dir",
            tmp_path / "cache",
            "--output",
            tmp_path / "out",
            "--json",
        ]
        started = [cli.start(*words, env={"HF_ENDPOINT": hub.endpoint}) for _ in range(RUNS)]
        ended = [cli.end(process).ok() for process in started]
        sent = hub.bytes_sent("*.safetensors")

    assert len({done.digest for done in ended}) == 1
    statuses = [done.statuses for done in ended]
    for step in ("fetch", "configure", "image", "publish"):
        assert [status[step] for status in statuses].count("built") == 1, step
    shards = sum(path.stat().st_size for path in (tmp_path / "hub").rglob("*.safetensors"))
    assert shards < sent < shards + 4096  # the preflight read the headers; of the weights nothing came twice
    waited = [event for done in ended for event in done.events if event["event"] == "waiting"]
    assert waited, "nobody said that it waited"
    assert {event["what"] for event in waited} <= {"step fetch", "step configure", "step image", "publish"}
