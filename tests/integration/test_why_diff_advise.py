"""`why`, `diff`, `advise` and what `plan` says of times and costs, as processes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from enginebuild.lock_file import read_lock_file
from enginebuild_cache import Record, Store
from parts import cli, recipes
from parts.busybox_base import BusyboxBase
from parts.checkpoints import write_checkpoint
from parts.hub_server import HubServer
from parts.registry_quirks import quirk_registry
from parts.services import DockerEngine


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(recipes.QUICKSTART_MODEL, tmp_path / "model")
    recipes.write(tmp_path, "file:./model")
    return tmp_path


def ask(folder: Path, command: str, *words: str | Path) -> cli.Ended:
    return cli.enginebuild(command, *words, "--cache-dir", folder / "cache", cwd=folder)


def run(folder: Path, name: str = "tiny", *words: str | Path) -> cli.Ended:
    return ask(folder, "run", f"{name}.yaml", "--output", "out", "--json", *words).ok()


def edit(folder: Path, old: str, new: str, name: str = "tiny") -> None:
    """`name` is the recipe that the changed one is written to."""
    text = (folder / "tiny.yaml").read_text()
    assert old in text
    (folder / f"{name}.yaml").write_text(text.replace(old, new))


def records(folder: Path) -> dict[str, Record]:
    return records_at(folder / "cache")


def records_at(cache: Path) -> dict[str, Record]:
    return {record.step: record for record in Store.open(cache).records()}


def since(record: Record) -> str:
    told = record.provenance
    day, _, clock = str(told["finished"]).partition("T")
    return f"since {day} {clock[:5]} UTC (record {record.key.short})"


def test_why_before_after_and_after_a_change(folder: Path) -> None:
    assert ask(folder, "why", "tiny.yaml").ok().stdout == (
        "fetch      miss        never built here\n"
        "configure  miss        never built here\n"
        "image      miss        never built here\n"
    )
    assert not (folder / "tiny.lock").exists()
    first = run(folder)
    made = records(folder)
    assert ask(folder, "why", "tiny.yaml").ok().stdout == "".join(
        f"{step:<10} hit         {since(made[step])}\n" for step in ("fetch", "configure", "image")
    )
    edit(folder, "max_model_len: 256", "max_model_len: 64")
    shown = ask(folder, "why", "tiny.yaml").ok()
    document = ask(folder, "why", "tiny.yaml", "--json").ok().document
    old = first.result["image"]["key"].removeprefix("sha256:")[:12]
    causes = {step["name"]: step["causes"] for step in document["steps"]}
    new = causes["configure"][-1]["new"].removeprefix("sha256:")[:12]
    files = [causes["image"][-1][side].removeprefix("sha256:")[:12] for side in ("old", "new")]
    assert shown.stdout == (
        f"fetch      hit         {since(made['fetch'])}\n"
        f"configure  miss        {since(made['configure'])}:\n"
        "             engine.args.max_model_len: 256 → 64\n"
        f"             the key of the whole build: {old} → {new}\n"
        f"image      miss        {since(made['image'])}:\n"
        f"             the key of the whole build: {old} → {new}\n"
        f"             what configure made: {files[0]} → {files[1]}\n"
        "because of engine.args.max_model_len\n"
    )
    assert (document["recipe"], document["fields"]) == ("tiny", ["engine.args.max_model_len"])
    one = ask(folder, "why", "tiny.yaml", "fetch").ok()
    assert one.stdout == f"fetch      hit         {since(made['fetch'])}\n"


def test_why_of_a_step_that_is_not_there(folder: Path) -> None:
    ended = ask(folder, "why", "tiny.yaml", "compile")
    assert (ended.code, ended.stderr) == (
        2,
        "error: tiny has no step compile\nhint: its steps are fetch, configure, image\n",
    )


def test_diff_of_recipes(folder: Path) -> None:
    edit(folder, "name: tiny", "name: other", "other")
    same = ask(folder, "diff", "tiny.yaml", "other.yaml").ok()
    assert same.stdout == (
        "fetch      same\nconfigure  same\nimage      same\n"
        "equal in what decides the result, though not in name\n"
    )
    edit(folder, "dtype: float16", "dtype: float32", "other")
    differs = ask(folder, "diff", "tiny.yaml", "other.yaml").ok()
    assert differs.stdout == (
        "fetch      same\nconfigure  differs\n             dtype: float16 → float32\n"
        "image      differs\n             dtype: float16 → float32\nthey differ\n"
    )
    document = ask(folder, "diff", "tiny.yaml", "other.yaml", "--json").ok().document
    assert (document["a"], document["b"], document["kind"], document["equal"]) == (
        "tiny.yaml",
        "other.yaml",
        "recipes",
        False,
    )


def test_diff_of_locks_and_images(folder: Path) -> None:
    edit(folder, "base: scratch", "base: scratch\n  tags: [a]")
    edit(folder, "max_model_len: 256", "max_model_len: 64", "other")
    run(folder, "tiny")
    run(folder, "other", "--set", "image.tags=[b]")
    cli.enginebuild("lock", "other.yaml", cwd=folder).ok()
    equal = ask(folder, "diff", "tiny.lock", "other.lock").ok()
    assert equal.stdout == (
        "fetch      same\nconfigure  same\nimage      same\nequal in what decides the result\n"
    )
    images = ask(folder, "diff", "oci:out:a", "oci:out:b").ok().stdout.splitlines()
    assert images[:4] == ["fetch      same", "configure  same", "image      same", "layers     differs"]
    assert images[4].startswith("             enginebuild: /etc/enginebuild/vllm.yaml: ")
    assert images[5:] == ["they differ"]
    assert ask(folder, "diff", "oci:out:a", "oci:out:a", "--json").ok().document["equal"] is True


def test_diff_of_an_image_in_two_places(folder: Path) -> None:
    run(folder, "tiny", "--set", "image.tags=[a]")
    with quirk_registry() as registry:
        pushed = f"{registry.host}/llm/tiny"
        ask(folder, "run", "tiny.yaml", "--push", "--set", f"image.repository={pushed}").ok()
        key = ask(folder, "plan", "tiny.yaml", "--json").ok().document["key"].removeprefix("sha256:")[:12]
        found = ask(folder, "diff", "oci:out:a", f"{pushed}:{key}").ok()
    assert found.stdout.splitlines()[-1] == "equal in what decides the result"


def test_diff_of_an_image_and_what_a_docker_engine_made_of_it(
    folder: Path, base_layout: BusyboxBase, docker_engine: DockerEngine
) -> None:
    shutil.copytree(base_layout.layout, folder / "base")
    tags = "oci:./base:latest\n  repository: docker.io/enginebuild-test/diff\n  tags: [a]"
    edit(folder, "scratch", tags)
    env = {"DOCKER_HOST": docker_engine.host}
    words = ("tiny.yaml", "--load", "--output", "out", "--cache-dir", "cache")
    try:
        cli.enginebuild("run", *words, env=env, cwd=folder).ok()
        loaded = "docker:enginebuild-test/diff:a"
        found = cli.enginebuild("diff", "oci:out:a", loaded, env=env, cwd=folder).ok()
    finally:
        docker_engine.docker("image", "rm", "--force", "enginebuild-test/diff:a", check=False)
    assert found.stdout.splitlines()[-1] == "equal in what decides the result, though not in digest"


KINDS = "name two recipes, two locks or two images"


def test_diff_of_what_is_not_of_one_kind(folder: Path) -> None:
    ended = ask(folder, "diff", "tiny.yaml", "oci:out")
    assert (ended.code, ended.stderr) == (
        2,
        f"error: tiny.yaml is a recipe and oci:out is an image\nhint: {KINDS}\n",
    )
    missing = ask(folder, "diff", "no.lock", "no.lock")
    assert (missing.code, missing.stderr) == (
        2,
        "error: no.lock: there is no such lock\nhint: run `enginebuild lock` to make it\n",
    )


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubServer]:
    write_checkpoint(tmp_path / "hub" / "org" / "tiny", shards=1, shard_size=1 << 20)
    with HubServer(tmp_path / "hub") as server:
        yield server


def test_plan_tells_bytes_to_fetch_and_times_of_the_last_records(tmp_path: Path, hub: HubServer) -> None:
    recipe = recipes.write(tmp_path, "hf://org/tiny@main")
    env = {"HF_ENDPOINT": hub.endpoint}
    words = (recipe, "--cache-dir", tmp_path / "cache")
    before = cli.enginebuild("plan", *words, env=env).ok()
    assert before.stdout.splitlines()[4:] == [
        "to send    about 1.0 MB, without the base",
        "time       under 1 s, between under 1 s and 3 s",
        "  fetch      under 1 s             model: 100 MB/s, an assumed line of 1 Gbit/s; ×4 either way",
        "  configure  under 1 s             model: small files; ×5 either way",
        "  image      under 1 s             model: 1.2 GB/s digested, 15 MB/s compressed; ×3 either way",
        "  publish    under 1 s             model: a disk that is written at 400 MB/s; ×4 either way",
        "to fetch   1.0 MB",
    ]
    document = cli.enginebuild("plan", *words, "--json", env=env).ok().document["estimate"]
    assert (document["unknown"], {step["origin"] for step in document["steps"]}) == ([], {"model"})

    cli.enginebuild("run", *words, "--output", tmp_path / "out", env=env).ok()
    locked = read_lock_file(tmp_path / "tiny.lock")
    assert locked is not None
    # Small files came when the model was resolved: their digests are not told otherwise.
    weights = [file.size for file in locked.models[0].tree if file.path.endswith(".safetensors")]
    assert document["bytes_to_fetch"] == sum(weights)
    done = cli.enginebuild("plan", *words, "--output", tmp_path / "out", env=env).ok()
    assert [line.split()[:2] for line in done.stdout.splitlines()[:4]] == [
        ["fetch", "hit"],
        ["configure", "hit"],
        ["image", "hit"],
        ["publish", "hit"],
    ]
    assert "time " not in done.stdout

    changed = ("--set", "dtype=float32", "--gpu-price", "2.5/h")
    then = cli.enginebuild("plan", *words, *changed, env=env).ok().stdout.splitlines()
    today = str(records_at(tmp_path / "cache")["configure"].provenance["finished"]).partition("T")[0]
    own = f"this recipe's record of {today}; ×1.3 either way"
    assert then[-5].startswith("time       under 1 s")
    assert then[-4:-2] == [f"  {step:<9}  under 1 s             {own}" for step in ("configure", "image")]
    assert then[-1] == "cost       0.00 $ for 0.0 GPU minutes at 2.5 $/h"
    told = cli.enginebuild("plan", *words, *changed, "--json", env=env).ok().document["estimate"]
    assert [(step["name"], step["origin"]) for step in told["steps"]] == [
        ("configure", "this recipe's record"),
        ("image", "this recipe's record"),
        ("publish", "model"),
    ]
    assert [step["since"]["subject"] for step in told["steps"][:2]] == ["tiny", "tiny"]
    assert (told["gpu_price"], told["cost"], told["bytes_to_fetch"]) == (2.5, 0, 0)


def test_plan_says_whose_times_these_are(folder: Path) -> None:
    run(folder)
    edit(folder, "name: tiny", "name: other", "other")
    told = ask(folder, "plan", "other.yaml", "--set", "dtype=float32").ok().stdout.splitlines()
    today = str(records(folder)["image"].provenance["finished"]).partition("T")[0]
    assert told[-3:-1] == [
        f"  {step:<9}  under 1 s             tiny's record of {today}; ×1.3 either way"
        for step in ("configure", "image")
    ]


def test_plan_takes_the_line_that_earlier_fetches_had(tmp_path: Path) -> None:
    for name, shards in (("small", 2), ("large", 6)):
        write_checkpoint(tmp_path / "hub" / "org" / name, shards=shards, shard_size=1 << 20)
        recipes.write(tmp_path, f"hf://org/{name}@main", name=name)
    words = ("--cache-dir", tmp_path / "cache", "--output", tmp_path / "out", "--json")
    with HubServer(tmp_path / "hub") as hub:
        env = {"HF_ENDPOINT": hub.endpoint}
        cli.enginebuild("run", tmp_path / "small.yaml", *words, env=env).ok()
        plan = cli.enginebuild("plan", tmp_path / "large.yaml", *words, env=env).ok().document["estimate"]
    fetched = records_at(tmp_path / "cache")["fetch"].provenance
    assert fetched["fetched_bytes"] == pytest.approx(2 << 20, rel=0.001)
    fetch = plan["steps"][0]
    assert (fetch["name"], fetch["origin"]) == ("fetch", "another recipe's record")
    # Two of its six shards are those of the small one.
    assert fetch["scale"] == pytest.approx(2, rel=0.001)
    seconds = fetched["seconds"]
    assert isinstance(seconds, float)
    assert fetch["seconds"] == pytest.approx(2 * seconds, abs=0.01)
    assert fetch["said"].endswith(", scaled by 2")


def test_plan_refuses_what_is_no_price(folder: Path) -> None:
    ended = ask(folder, "plan", "tiny.yaml", "--gpu-price", "cheap")
    assert (ended.code, ended.stderr) == (
        2,
        "error: --gpu-price must be dollars per GPU-hour, not 'cheap'\nhint: write for example 2.5/h\n",
    )


TABLE = (
    *("--gpu-price", "1.48/h", "--throughput", "vllm=667k", "--throughput", "tensorrt_llm=741k"),
    *("--compile-minutes", "40", "--recompiles-per-month", "2"),
)


def test_advise_gives_the_table_of_its_page(tmp_path: Path) -> None:
    shown = cli.enginebuild("advise", *TABLE, "--plot", tmp_path / "cost.svg").ok().stdout
    cli.enginebuild("advise", *TABLE, "--plot", tmp_path / "cost.png").ok()
    page = (recipes.ROOT / "docs" / "advise.md").read_text()
    table = page.split("```\n")[1]
    assert shown.startswith(table)
    assert (tmp_path / "cost.svg").read_bytes().startswith(b"<svg ")
    assert (tmp_path / "cost.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    document = cli.enginebuild("advise", *TABLE, "--json").ok().document
    uses = {each["name"]: each["uses"] for each in document["candidates"]}
    assert [use["gpu_hours"] for use in uses["vllm"]] == [150, 1500, 15000]
    assert [use["serving"] for use in uses["tensorrt_llm"]] == [199.8, 1998, 19980]


def test_advise_on_a_recipe_uses_the_cache(folder: Path) -> None:
    run(folder)
    told = ask(folder, "advise", "tiny.yaml", "--gpu-price", "2/h", "--json").ok().document
    assert (told["recipe"], told["gpu_price"]) == ("tiny", 2.0)
    assert {each["tokens_per_gpu_hour"]["origin"] for each in told["candidates"][:2]} == {"cited"}


AMOUNTS = "write for example 667k, 100M or 1.5B"


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ((), "Error: Missing option '--gpu-price'.\n"),
        (
            ("--gpu-price", "1", "--tokens-per-month", "1M,lots"),
            f"error: --tokens-per-month must be a number of tokens, not 'lots'\nhint: {AMOUNTS}\n",
        ),
        (
            ("--gpu-price", "1", "--plot", "cost.pdf"),
            "error: --plot writes .svg and .png, not '.pdf'\nhint: write for example cost.svg\n",
        ),
    ],
)
def test_advise_refuses(words: tuple[str, ...], error: str) -> None:
    ended = cli.enginebuild("advise", *words)
    assert ended.code == 2
    assert ended.stderr.endswith(error)
