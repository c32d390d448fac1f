"""A matrix from the command line: shared work once, failures alone, one table, one lock."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from itertools import accumulate
from pathlib import Path

import pytest

from parts import cli, recipes
from parts.checkpoints import write_checkpoint
from parts.hub_server import Fault, HubServer

NVIDIA_STANDIN = Path(__file__).parents[1] / "parts" / "nvidia_standin"
MATRIX = "matrix:\n  engine.args.max_num_seqs: [1, 2, 3]\n"


@pytest.fixture
def local(tmp_path: Path) -> Path:
    """A recipe of the quickstart's model with a matrix of three cells."""
    (tmp_path / "model").symlink_to(recipes.QUICKSTART_MODEL)
    return with_matrix(recipes.write(tmp_path, "file:./model"), MATRIX)


def with_matrix(recipe: Path, matrix: str) -> Path:
    recipe.write_text(recipe.read_text() + matrix)
    return recipe


def words(recipe: Path, *more: str | Path) -> list[str | Path]:
    """A run whose cache and images lie beside the recipe."""
    return ["run", recipe, "--cache-dir", recipe.parent / "cache", "--output", recipe.parent / "out", *more]


def test_cells_are_built_and_the_second_run_makes_nothing(local: Path) -> None:
    first = cli.enginebuild(*words(local, "--json")).ok()
    assert [cell["status"] for cell in first.result["cells"]] == ["built"] * 3
    assert [cell["cell"] for cell in first.result["cells"]] == [
        {"engine.args.max_num_seqs": str(count)} for count in (1, 2, 3)
    ]
    assert len({cell["image"]["digest"] for cell in first.result["cells"]}) == 3
    fetched = [step for cell in first.result["cells"] for step in cell["steps"] if step["name"] == "fetch"]
    assert sorted(step["status"] for step in fetched) == ["built", "hit", "hit"]
    for cell in first.result["cells"]:
        (name,) = cell["image"]["names"]
        assert name == f"oci:{local.parent}/out/{cell['name']}@{cell['image']['digest']}"

    second = cli.enginebuild(*words(local, "--json")).ok()
    assert [cell["status"] for cell in second.result["cells"]] == ["cached"] * 3
    assert [cell["image"] for cell in second.result["cells"]] == [
        cell["image"] for cell in first.result["cells"]
    ]
    assert {step["status"] for cell in second.result["cells"] for step in cell["steps"]} == {"hit"}


def test_a_cell_is_the_same_build_as_the_recipe_written_out(local: Path) -> None:
    found = cli.enginebuild(*words(local, "--json")).ok().result["cells"]
    (local.parent / "plain").mkdir()
    (local.parent / "plain" / "model").symlink_to(recipes.QUICKSTART_MODEL)
    plain = recipes.write(local.parent / "plain", "file:./model", name="written-out")
    plain.write_text(
        plain.read_text().replace("{max_model_len: 256}", "{max_model_len: 256, max_num_seqs: 2}")
    )
    out = ("--output", local.parent / "one", "--cache-dir", local.parent / "cache", "--json")
    single = cli.enginebuild("run", plain, *out).ok()
    assert single.digest == found[1]["image"]["digest"]
    assert single.statuses == {"fetch": "hit", "configure": "hit", "image": "hit", "publish": "built"}


def test_another_cell_changes_no_key(local: Path) -> None:
    def keys(text: str) -> dict[str, list[str]]:
        local.write_text(local.read_text().replace("[1, 2, 3]", text))
        plan = cli.enginebuild("plan", local, "--cache-dir", local.parent / "cache", "--json").ok().document
        return {cell["recipe"]: [step["key"] for step in cell["steps"]] for cell in plan["cells"]}

    few = keys("[1, 2, 3]")
    local.write_text(local.read_text().replace("[1, 2, 3]", "[4, 1, 2, 3]\n  dtype: [float16]"))
    many = keys("none")
    assert len(many) == 4
    for name, found in few.items():
        assert many[f"{name}-float16"][:-1] == found[:-1]  # publish goes to another folder


def test_the_table_and_what_the_cells_say(local: Path) -> None:
    ended = cli.enginebuild(*words(local)).ok()
    lines = ended.stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [
        [f"tiny-max_num_seqs-{count}", "built"] for count in (1, 2, 3)
    ]
    assert all("@sha256:" in line for line in lines)
    assert "tiny-max_num_seqs-2 │ image      built" in ended.stderr
    assert "tiny.lock written; commit it with the recipe" in ended.stderr


def test_a_failure_stops_no_other_cell_and_its_code_is_ours(tmp_path: Path) -> None:
    (tmp_path / "model").symlink_to(recipes.QUICKSTART_MODEL)
    (tmp_path / "empty").mkdir()
    recipe = with_matrix(
        recipes.write(tmp_path, "file:./model"), "matrix:\n  model: [file:./model, file:./empty]\n"
    )
    ended = cli.enginebuild(*words(recipe, "--json"))
    assert ended.code == 3
    document = next(event for event in ended.events if event["event"] == "result")
    good, bad = document["cells"]
    assert (good["status"], good["exit"], document["failed"]) == ("built", 0, 1)
    assert (bad["status"], bad["exit"]) == ("failed", 3)
    assert "config.json" in bad["error"]["message"]
    assert ended.result == {
        "event": "error",
        "exit": 3,
        "message": f"1 of 2 failed: {bad['name']}",
        "hint": None,
    }
    shown = cli.enginebuild(*words(recipe))
    assert [line.split()[1:4] for line in shown.stdout.splitlines()] == [
        ["cached", shown.stdout.splitlines()[0].split()[2], "s"],
        ["failed", "(exit", "3)"],
    ]
    assert f"{bad['name']} │ error: " in shown.stderr


def test_fail_fast_stops_what_runs_and_skips_the_rest(tmp_path: Path) -> None:
    for name in ("slow", "bad"):
        write_checkpoint(tmp_path / "hub" / "org" / name, shards=1, shard_size=4 << 20)
    (tmp_path / "hub" / "org" / "bad" / "config.json").unlink()
    recipe = with_matrix(
        recipes.write(tmp_path, "hf://org/slow@main"),
        "matrix:\n  model: [hf://org/slow@main, hf://org/bad@main]\n  dtype: [float16, bfloat16]\n",
    )
    with HubServer(tmp_path / "hub") as hub:
        hub.faults.append(Fault("slow", "slow/*.safetensors", times=None, seconds=0.5))
        env = {"HF_ENDPOINT": hub.endpoint}
        ended = cli.enginebuild(*words(recipe, "--json", "--fail-fast"), env=env)
    document = next(event for event in ended.events if event["event"] == "result")
    assert [cell["status"] for cell in document["cells"]] == ["skipped", "skipped", "failed", "failed"]
    assert ended.code == 3


def test_cells_of_one_model_fetch_it_once(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "hub" / "org" / "tiny", shards=2, shard_size=1 << 20)
    recipe = with_matrix(recipes.write(tmp_path, "hf://org/tiny@main"), MATRIX)
    with HubServer(tmp_path / "hub") as hub:
        hub.faults.append(Fault("slow", "*.safetensors", times=None, seconds=0.02))
        ended = cli.enginebuild(
            *words(recipe, "--json", "--parallel", "3"), env={"HF_ENDPOINT": hub.endpoint}
        ).ok()
        sent, asked = hub.bytes_sent("*.safetensors"), hub.bytes_sent("*/config.json")
    files = (tmp_path / "hub").rglob
    # The preflight may read the headers before; of the weights themselves nothing comes twice.
    assert 0 <= sent - sum(path.stat().st_size for path in files("*.safetensors")) < 1 << 16
    assert asked == sum(path.stat().st_size for path in files("config.json"))
    assert most_at_once(ended.events) > 1


@pytest.mark.parametrize(("gpus", "most"), [(2, 2), (1, 1)])
def test_as_many_run_at_once_as_there_are_gpus(tmp_path: Path, gpus: int, most: int) -> None:
    write_checkpoint(tmp_path / "hub" / "org" / "tiny", shards=1, shard_size=4 << 20)
    recipe = with_matrix(recipes.write(tmp_path, "hf://org/tiny@main"), MATRIX)
    with HubServer(tmp_path / "hub") as hub:
        hub.faults.append(Fault("slow", "*.safetensors", times=None, seconds=0.05))
        env = {
            "HF_ENDPOINT": hub.endpoint,
            "PATH": f"{NVIDIA_STANDIN}:{os.environ['PATH']}",
            "NVIDIA_SMI_STANDIN_GPUS": "; ".join(["NVIDIA H100 80GB HBM3, 9.0, 81559, 81004"] * gpus),
        }
        ended = cli.enginebuild(*words(recipe, "--json"), env=env).ok()
    assert most_at_once(ended.events) == most


def most_at_once(events: list[dict[str, object]]) -> int:
    """Cells that had begun a step and not yet delivered their image."""
    told = [event for event in events if "cell" in event and event["event"].__class__ is str]
    begun = {event["cell"]: at for at, event in reversed(list(enumerate(told)))}
    over = {event["cell"]: at for at, event in enumerate(told)}
    changes = sorted([(at, 1) for at in begun.values()] + [(at + 0.5, -1) for at in over.values()])
    return max(accumulate(change for _, change in changes))


def test_several_recipes_and_folders(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for folder in (tmp_path, tmp_path / "folder"):
        (folder / "model").symlink_to(recipes.QUICKSTART_MODEL)
    one = recipes.write(tmp_path, "file:./model", name="one")
    recipes.write(tmp_path / "folder", "file:./model", name="two")
    with_matrix(recipes.write(tmp_path / "folder", "file:./model", name="three"), MATRIX)
    shared = ("--cache-dir", tmp_path / "cache")
    ended = cli.enginebuild("run", one, tmp_path / "folder", *shared, cwd=tmp_path).ok()
    names = ["one", *(f"three-max_num_seqs-{count}" for count in (1, 2, 3)), "two"]
    assert [line.split()[0] for line in ended.stdout.splitlines()] == names
    assert sorted(path.name for path in (tmp_path / "dist").iterdir()) == sorted(names)
    assert {path.name for path in tmp_path.rglob("*.lock") if path.parent.name != "locks"} == {
        "one.lock",
        "two.lock",
        "three.lock",
    }
    plan = cli.enginebuild("plan", one, tmp_path / "folder", *shared, cwd=tmp_path).ok()
    assert plan.stdout.splitlines()[-1] == "5 cells, 5 cached"


def refused(*asked: str | Path, cwd: Path | None = None) -> tuple[int, str]:
    ended = cli.enginebuild(*asked, cwd=cwd)
    return ended.code, ended.stderr


def test_what_is_refused_before_anything_is_built(tmp_path: Path) -> None:
    (tmp_path / "model").symlink_to(recipes.QUICKSTART_MODEL)
    one = recipes.write(tmp_path, "file:./model", name="one")
    (tmp_path / "again.yaml").write_text(one.read_text())
    assert refused("run", "one.yaml", "again.yaml", cwd=tmp_path) == (
        2,
        (
            "error: one.yaml and again.yaml have both a recipe of the name one\n"
            "hint: give one of them another name, or run them one after the other\n"
        ),
    )
    (tmp_path / "bad.yaml").write_text(one.read_text().replace("float16", "fp16").replace("one", "bad"))
    (tmp_path / "worse.yaml").write_text("")
    code, said = refused("run", "one.yaml", "bad.yaml", "worse.yaml", cwd=tmp_path)
    assert code == 2
    assert "bad.yaml:4:8: dtype must be" in said
    assert "worse.yaml: the file is empty\n  hint: a recipe begins with version: 1" in said
    (tmp_path / "nothing").mkdir()
    assert refused("run", "nothing", cwd=tmp_path) == (
        2,
        "error: nothing: no recipe in this folder\nhint: recipes end with .yaml or .yml\n",
    )
    assert refused("run", "one.yaml", "bad.yaml", "--cell", "one", cwd=tmp_path) == (
        2,
        "error: --cell chooses among the cells of one recipe\nhint: name one recipe\n",
    )
    with_matrix(
        recipes.write(
            tmp_path, "file:./model", extra="  repository: registry.example.com/a\n  tags: [latest]\n"
        ),
        MATRIX,
    )
    assert refused("run", "tiny.yaml", cwd=tmp_path) == (
        2,
        (
            "error: tiny-max_num_seqs-1 and tiny-max_num_seqs-2 would both be pushed as "
            "registry.example.com/a:latest\n"
            "hint: write {key} or {name} into image.tags, or give each a repository of its own\n"
        ),
    )
    assert not (tmp_path / "dist").exists()
    assert not (tmp_path / "one.lock").exists()


def test_one_lock_for_all_cells_and_some_of_them(tmp_path: Path) -> None:
    for name in ("first", "second"):
        write_checkpoint(tmp_path / "hub" / "org" / name, shards=1, shard_size=1000)
    recipe = with_matrix(
        recipes.write(tmp_path, "hf://org/first@main"),
        "matrix:\n  model: [hf://org/first@main, hf://org/second@main]\n  dtype: [float16, float32]\n",
    )
    lock = tmp_path / "tiny.lock"
    cache = ("--cache-dir", tmp_path / "cache")
    with HubServer(tmp_path / "hub") as hub:
        env = {"HF_ENDPOINT": hub.endpoint}
        cli.enginebuild(*words(recipe, "--cell", "model=hf://org/second@main"), env=env).ok()
        assert json.loads(lock.read_text())["model"]["source"] == "hf://org/second"
        cli.enginebuild(*words(recipe), env=env).ok()
        document = json.loads(lock.read_text())
        assert [model["source"] for model in document["models"]] == ["hf://org/first", "hf://org/second"]
        assert len(document["bases"]) == 1
        whole = lock.read_bytes()
        cli.enginebuild(*words(recipe, "--cell", "dtype=float16", "--locked"), env=env).ok()
        assert lock.read_bytes() == whole
        checked = cli.enginebuild("lock", "--check", recipe, *cache, env=env).ok()
        assert checked.stdout == f"{lock}: up to date\n"

        recipe.write_text(recipe.read_text().replace(", hf://org/second@main", ""))
        stale = cli.enginebuild("lock", "--check", recipe, *cache, env=env)
        assert (stale.code, stale.stderr.splitlines()[0]) == (
            4,
            f"error: {lock}: the lock has answers that no cell of the recipe asks for",
        )
        recipe.write_text(recipe.read_text().replace("first@main]", "third@main]"))
        drifted = cli.enginebuild(*words(recipe, "--locked", "--cell", "dtype=float16"), env=env)
        assert drifted.code == 4
        assert "the lock has none for the cell tiny-hf-org-third-main-float16" in drifted.stderr


def test_commands_for_one_cell(local: Path) -> None:
    cache = ("--cache-dir", local.parent / "cache")
    cli.enginebuild(*words(local)).ok()
    assert refused("why", local, *cache)[0] == 2
    why = cli.enginebuild("why", local, "--cell", "engine.args.max_num_seqs=2", *cache).ok()
    assert "configure" in why.stdout
    same = f"{local}#tiny-max_num_seqs-1"
    assert "equal" in cli.enginebuild("diff", same, same, *cache).ok().stdout
    other = cli.enginebuild("diff", same, f"{local}#tiny-max_num_seqs-2", *cache).ok()
    assert "engine.args.max_num_seqs" in other.stdout
    one = cli.enginebuild("plan", local, "--cell", "tiny-max_num_seqs-3", *cache, "--json").ok().document
    assert one["recipe"] == "tiny-max_num_seqs-3"
    assert cli.enginebuild("check", local, *cache).ok().stdout.endswith("ok (3 cells, vllm 0.33.0, locked)\n")


def test_a_matrix_is_stopped_as_a_whole(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "hub" / "org" / "tiny", shards=1, shard_size=16 << 20)
    recipe = with_matrix(recipes.write(tmp_path, "hf://org/tiny@main"), MATRIX)
    with HubServer(tmp_path / "hub") as hub:
        hub.faults.append(Fault("slow", "*.safetensors", times=None, seconds=0.5))
        started = cli.start(*words(recipe, "--parallel", "3"), env={"HF_ENDPOINT": hub.endpoint})
        until = time.monotonic() + 60
        while not hub.bytes_sent("*.safetensors") and time.monotonic() < until:
            time.sleep(0.05)
        started.send_signal(signal.SIGTERM)
        ended = cli.end(started)
    assert ended.code == 130
    assert "interrupted" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not children_of(recipe)


def children_of(recipe: Path) -> list[str]:
    """Commands of this machine that name a recipe."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(recipe) in line and "enginebuild" in line:
            found.append(line)
    return found


#: Runs a command, then says its seconds of processor time and its most bytes of memory. It is a process
#: between, for the kernel counts the memory of who forked another, and the tests' own is larger.
MEASURED = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss * 1024, file=sys.stderr)
"""


def test_a_thousand_cells_are_planned_in_three_seconds_and_200_mb(tmp_path: Path) -> None:
    (tmp_path / "model").symlink_to(recipes.QUICKSTART_MODEL)
    axes = "".join(
        f"  {axis}: {list(range(1, 11))}\n"
        for axis in ("engine.args.max_num_seqs", "engine.args.seed", "engine.args.block_size")
    )
    recipe = recipes.write(tmp_path, "file:./model")
    with_matrix(recipe, "matrix:\n" + axes.replace("block_size: [1", "stream_interval: [1"))
    words = cli.argv("plan", recipe, "--cache-dir", tmp_path / "cache")
    ended = subprocess.run(
        [sys.executable, "-c", MEASURED, *words], capture_output=True, text=True, check=True
    )
    assert ended.stdout.splitlines()[1000] == "1000 cells, 0 cached"
    seconds, size = map(float, ended.stderr.splitlines()[-1].split())
    # Time of the processor: others use this machine, too.
    assert seconds < 3.0
    assert size < 200e6


def test_cells_are_pushed_side_by_side_and_their_weights_are_in_the_registry_once(
    tmp_path: Path, registry: str
) -> None:
    write_checkpoint(tmp_path / "model", shards=1, shard_size=80 << 20)
    image = f'  repository: {registry}/matrix/cells\n  tags: ["{{name}}"]\n'
    recipe = with_matrix(recipes.write(tmp_path, "file:./model", extra=image), MATRIX)
    push = ("run", recipe, "--cache-dir", tmp_path / "cache", "--push", "--parallel", "3", "--json")
    pushed = cli.enginebuild(*push).ok().result["cells"]
    assert [cell["status"] for cell in pushed] == ["built"] * 3
    layers = []
    for count, cell in enumerate(pushed, 1):
        name = f"{registry}/matrix/cells:tiny-max_num_seqs-{count}"
        seen = cli.enginebuild("inspect", name, "--json").ok().document
        assert seen["digest"] == cell["image"]["digest"]
        layers.append({layer["digest"] for layer in seen["layers"]})
    assert len(set.intersection(*layers)) >= 1
    again = cli.enginebuild(*push).ok().result["cells"]
    assert [cell["status"] for cell in again] == ["cached"] * 3
