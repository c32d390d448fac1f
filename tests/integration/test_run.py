"""`enginebuild run` as a process: what it prints, what it leaves, and its exit codes."""

from __future__ import annotations

import json
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from enginebuild_images.policy import LARGE
from parts import cli, recipes
from parts.busybox_base import BusyboxBase
from parts.checkpoints import write_checkpoint
from parts.hub_server import Fault, HubServer
from parts.registry_quirks import quirk_registry

STEPS = ("fetch", "configure", "image", "publish")
#: The quickstart's image, on any machine. It changes when the recipe, the model, vLLM's table or one of our
#: formats changes; each is worth a line in the changelog.
QUICKSTART = "sha256:8b29abffcbaf45e29157a2fc5849ecb62c8a6413a638f1d86db5271049b8e6e3"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A recipe of a local model, with room for a cache and an output beside it."""
    shutil.copytree(recipes.QUICKSTART_MODEL, tmp_path / "model")
    recipes.write(tmp_path, "file:./model")
    return tmp_path


def run(folder: Path, *words: str | Path) -> cli.Ended:
    output = () if "--output" in words or "--push" in words else ("--output", folder / "out")
    return cli.enginebuild(
        "run", folder / "tiny.yaml", "--cache-dir", folder / "cache", *output, *words, cwd=folder
    )


def test_the_quickstart(tmp_path: Path) -> None:
    words = ("run", recipes.SHIPPED / "quickstart.yaml", "--cache-dir", tmp_path / "cache", "--locked")
    first = cli.enginebuild(*words, "--json", cwd=tmp_path).ok()
    assert first.statuses == dict.fromkeys(STEPS, "built")
    assert first.digest == QUICKSTART
    second = cli.enginebuild(*words, "--json", cwd=tmp_path).ok()
    assert second.statuses == dict.fromkeys(STEPS, "hit")
    assert second.digest == QUICKSTART

    shown = cli.enginebuild(*words, cwd=tmp_path).ok()
    assert shown.stdout == f"oci:dist/quickstart@{QUICKSTART}\n"
    lines = shown.stderr.splitlines()
    assert [line.split()[:2] for line in lines[:4]] == [[step, "hit"] for step in STEPS]
    assert lines[4].startswith("look inside:    enginebuild inspect oci:dist/quickstart:")


def test_json_events(folder: Path) -> None:
    ended = run(folder, "--json").ok()
    kinds = [event["event"] for event in ended.events if event["event"] != "progress"]
    assert kinds == ["note", *("step_started", "step_finished") * 4, "result"]
    result = ended.result
    assert set(result) == {"event", "image", "steps"}
    assert set(result["image"]) == {"digest", "key", "names"}
    assert [set(step) for step in result["steps"]] == [{"name", "key", "status", "seconds"}] * 4
    assert result["image"]["names"] == [f"oci:{folder / 'out'}@{result['image']['digest']}"]


def test_the_lock_is_made_once_and_then_used(folder: Path) -> None:
    path = folder / "tiny.lock"
    first = run(folder).ok()
    assert first.stderr.splitlines()[0] == f"{path} written; commit it with the recipe"
    before = path.read_bytes()
    assert "tiny.lock" not in run(folder).ok().stderr
    assert path.read_bytes() == before
    assert cli.enginebuild("lock", folder / "tiny.yaml").ok().stdout == f"{path}: up to date\n"
    assert path.read_bytes() == before


def test_locked_needs_a_lock(folder: Path) -> None:
    ended = run(folder, "--locked")
    recipe = folder / "tiny.yaml"
    assert ended.code == 4
    assert ended.stderr == (
        f"error: {recipe}: there is no lock, and --locked forbids to make one\n"
        f"hint: run `enginebuild lock {recipe}` and commit the lock\n"
    )
    assert not (folder / "out").exists()


def test_locked_names_what_drifted(folder: Path) -> None:
    run(folder).ok()
    recipe = folder / "tiny.yaml"
    recipe.write_text(recipe.read_text().replace("version: 0.33.0", "version: 0.32.0"))
    config = folder / "model" / "generation_config.json"
    config.write_text(config.read_text() + "\n")
    ended = run(folder, "--locked")
    assert ended.code == 4
    lines = ended.stderr.splitlines()
    assert lines[0] == f"error: {recipe}: the lock does not say what the recipe and its sources say:"
    assert [line.split(":")[0] for line in lines[1:]] == [
        "  model.files[generation_config.json].sha256",
        "  model.files[generation_config.json].size",
        "  tools.vllm",
        "hint",
    ]
    assert lines[3] == "  tools.vllm: 0.33.0 → 0.32.0"
    stale = cli.enginebuild("lock", recipe, "--check")
    assert (stale.code, stale.stderr) == (4, ended.stderr)

    moved = run(folder).ok()  # without --locked the lock follows, and says so
    assert moved.stderr.splitlines()[0] == f"{folder / 'tiny.lock'} updated; commit it with the recipe"
    run(folder, "--locked").ok()


@pytest.mark.parametrize(
    ("old", "new", "rebuilt"),
    [
        ("name: tiny", "name: other", ()),
        ("base: scratch", "base: scratch\n  tags: [other]", ()),
        ("base: scratch", "base: scratch\n  repository: registry.example.com/a/b", ()),
        ("base: scratch", "base: scratch\n  labels: {team: ml}", ("image",)),
        ("max_model_len: 256", "max_model_len: 128", ("configure", "image")),
        ("version: 0.33.0", "version: 0.32.0", ("configure", "image")),
        ("dtype: float16", "dtype: float32", ("configure", "image")),
        ("base: scratch", "base: scratch\n  platform: linux/arm64", ("configure", "image")),
        ("model: file:./model", "model: {source: file:./model, ignore_patterns: [gen*]}", STEPS[:3]),
    ],
)
def test_a_change_rebuilds_exactly_what_it_decides(
    folder: Path, old: str, new: str, rebuilt: tuple[str, ...]
) -> None:
    first = run(folder, "--json").ok()
    recipe = folder / "tiny.yaml"
    text = recipe.read_text()
    assert old in text
    recipe.write_text(text.replace(old, new))
    second = run(folder, "--json").ok()
    statuses = second.statuses
    del statuses["publish"]
    assert {step for step, status in statuses.items() if status == "built"} == set(rebuilt)
    assert (second.digest == first.digest) == (not rebuilt)


def test_override_from_the_command_line(folder: Path) -> None:
    plain = run(folder, "--json").ok()
    lock = (folder / "tiny.lock").read_bytes()
    other = run(folder, "--json", "--set", "engine.args.max_model_len=64").ok()
    assert other.digest != plain.digest
    assert (folder / "tiny.lock").read_bytes() == lock


def test_push_needs_a_repository(folder: Path) -> None:
    ended = run(folder, "--push")
    recipe = folder / "tiny.yaml"
    assert ended.code == 2
    assert ended.stderr.splitlines() == [
        f"error: {recipe}:9:1: --push needs image.repository, which this recipe does not have",
        "  image:",
        "  ^",
        "  hint: add it, or give --set image.repository=registry.example.com/team/name",
    ]


def test_all_mistakes_of_a_recipe_at_once_and_nothing_is_made(folder: Path) -> None:
    recipe = folder / "tiny.yaml"
    recipe.write_text(recipe.read_text().replace("max_model_len: 256", "max_modle_len: 256, dtype: half"))
    for command in ("run", "check", "plan", "lock"):
        ended = cli.enginebuild(command, recipe)
        assert ended.code == 2, command
        assert "has no argument 'max_modle_len'" in ended.stderr
        assert "dtype" in ended.stderr
        assert "Traceback" not in ended.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["model", "tiny.yaml"]


def test_a_registry_that_is_not_there(folder: Path) -> None:
    ended = run(folder, "--push", "--set", "image.repository=127.0.0.1:1/a/b")
    assert ended.code == 8
    assert "127.0.0.1:1" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_base_that_is_not_there(folder: Path) -> None:
    ended = run(folder, "--set", "image.base=oci:./base:latest")
    assert ended.code == 3
    assert ended.stderr.startswith(f"error: base image oci:./base:latest: {folder}")


def test_a_base_from_a_layout(folder: Path, base_layout: BusyboxBase) -> None:
    shutil.copytree(base_layout.layout, folder / "base")
    recipe = folder / "tiny.yaml"
    recipe.write_text(recipe.read_text().replace("base: scratch", "base: oci:./base:latest"))
    first = run(folder, "--json").ok()
    assert run(folder, "--json").ok().statuses == dict.fromkeys(STEPS, "hit")
    seen = cli.enginebuild("inspect", f"oci:{folder / 'out'}@{first.digest}", "--json").ok().document
    assert [layer["holds"] for layer in seen["layers"]] == [
        "busybox",
        "etc",
        "enginebuild: 5 files in /model",
        "enginebuild: /etc/enginebuild/vllm.yaml",
    ]
    assert seen["entrypoint"] == ["vllm", "serve", "--config", "/etc/enginebuild/vllm.yaml"]


def test_a_damaged_cache_is_named_found_and_healed(folder: Path) -> None:
    run(folder).ok()
    shutil.rmtree(folder / "out")
    (weights,) = (
        path for path in (folder / "cache").rglob("*") if path.is_file() and path.stat().st_size == 297640
    )
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.chmod(0o644)
    weights.write_bytes(content)

    broken = run(folder)
    assert broken.code == 9
    assert "model.safetensors" in broken.stderr
    assert "enginebuild cache verify --repair" in broken.stderr
    assert "Traceback" not in broken.stderr
    cache = ("--cache-dir", folder / "cache")
    assert cli.enginebuild("cache", "verify", *cache).code == 9
    assert cli.enginebuild("cache", "verify", "--repair", *cache).code == 0
    healed = run(folder, "--json").ok()
    assert healed.statuses["fetch"] == "built"
    assert cli.enginebuild("cache", "verify", *cache).ok().stderr.endswith(" 0 damaged\n")


@pytest.fixture
def slow_hub(tmp_path: Path) -> Iterator[HubServer]:
    write_checkpoint(tmp_path / "hub" / "org" / "tiny", shards=2, shard_size=8 << 20)
    with HubServer(tmp_path / "hub") as hub:
        hub.faults.append(Fault("slow", "*.safetensors", times=None, seconds=0.02))
        yield hub


def test_ctrl_c_leaves_what_a_rerun_uses(tmp_path: Path, slow_hub: HubServer) -> None:
    recipe = recipes.write(tmp_path, "hf://org/tiny@main")
    words = ("run", recipe, "--cache-dir", tmp_path / "cache", "--output", tmp_path / "out")
    env = {"HF_ENDPOINT": slow_hub.endpoint}
    process = cli.start(*words, env=env)
    deadline = time.monotonic() + 60
    while slow_hub.bytes_sent("*.safetensors") < 2 << 20:
        assert time.monotonic() < deadline, "the download never began"
        time.sleep(0.01)
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    ended = cli.end(process)
    assert time.monotonic() - begun < 5
    assert ended.code == 130
    assert ended.stderr.endswith("interrupted; run the same command again to go on from here\n")
    assert "Traceback" not in ended.stderr
    slow_hub.faults.clear()
    cli.enginebuild(*words, env=env).ok()


def test_plan_then_run_then_plan(folder: Path) -> None:
    words = ("plan", folder / "tiny.yaml", "--cache-dir", folder / "cache", "--output", folder / "out")
    before = cli.enginebuild(*words, "--json").ok().document
    assert [step["status"] for step in before["steps"]] == ["miss", "miss", "miss", "unresolved"]
    assert (before["image"], before["bytes_to_send"]) == (None, None)
    assert {step["reason"] for step in before["steps"][:3]} == {"never built here"}
    assert not (folder / "tiny.lock").exists()
    done = run(folder, "--json").ok()
    after = cli.enginebuild(*words, "--json").ok().document
    assert [step["status"] for step in after["steps"]] == ["hit"] * 4
    assert (after["image"], after["bytes_to_send"]) == (done.digest, 0)
    assert [step["key"] for step in after["steps"]] == [step["key"] for step in done.result["steps"]]
    assert [step["key"] for step in after["steps"][:3]] == [step["key"] for step in before["steps"][:3]]


def test_plan_names_the_image_and_the_bytes_before_anything_is_sent(folder: Path) -> None:
    run(folder).ok()
    change = ("--set", "engine.args.max_model_len=64")
    words = (folder / "tiny.yaml", "--cache-dir", folder / "cache", "--output", folder / "out", *change)
    planned = cli.enginebuild("plan", *words, "--json").ok().document
    assert [step["status"] for step in planned["steps"]] == ["hit", "miss", "miss", "miss"]
    before = {path.name for path in (folder / "out" / "blobs" / "sha256").iterdir()}
    assert run(folder, *change, "--json").ok().digest == planned["image"]
    new = [path for path in (folder / "out" / "blobs" / "sha256").iterdir() if path.name not in before]
    manifest = planned["image"].removeprefix("sha256:")
    assert planned["bytes_to_send"] == sum(path.stat().st_size for path in new if path.name != manifest)


def test_plan_says_which_field_made_a_miss(folder: Path) -> None:
    run(folder).ok()
    planned = cli.enginebuild(
        *("plan", folder / "tiny.yaml", "--cache-dir", folder / "cache", "--set"),
        "engine.args.max_model_len=64",
    ).ok()
    assert "             fields.args.max_model_len: 256 → 64\n" in planned.stdout


def test_plan_without_a_network_shows_what_is_unresolved(tmp_path: Path) -> None:
    recipe = recipes.write(tmp_path, "hf://org/tiny@main", base="registry.invalid/a/b:v1")
    planned = cli.enginebuild("plan", recipe, "--json", env={"HF_HUB_OFFLINE": "1"}).ok().document
    assert [step["status"] for step in planned["steps"]] == ["unresolved"] * 4
    assert "HF_HUB_OFFLINE" in planned["steps"][0]["reason"]
    assert json.dumps("max-model-len: 256\n")[1:-1] in json.dumps(planned["steps"][1]["files"]["vllm.yaml"])


def test_a_large_layer_of_unknown_digest_is_read_and_sent_in_one_pass(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "model", shards=1, shard_size=LARGE)
    recipe = recipes.write(tmp_path, "file:./model")
    words = ("run", recipe, "--cache-dir", tmp_path / "cache", "--json")
    known = cli.enginebuild(*words, "--output", tmp_path / "out").ok()
    for step in ("layer", "image"):
        shutil.rmtree(tmp_path / "cache" / "records" / step)
    with quirk_registry() as registry:
        pushed = cli.enginebuild(*words, "--push", "--set", f"image.repository={registry.host}/a/b").ok()
        streamed = [seen for seen in registry.seen if seen.method == "PATCH"]
        sent = sum(seen.body for seen in registry.seen if seen.path.startswith("/v2/a/b/blobs"))
    assert pushed.digest == known.digest
    assert [seen.body > LARGE for seen in streamed] == [True]
    assert sent < LARGE + (1 << 20)
