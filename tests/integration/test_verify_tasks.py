"""lm-eval's tasks in the gate, in an environment and in an image; stand-ins for the engine and lm-eval."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from enginebuild.check import read_checked
from enginebuild.events import silent
from enginebuild.verify.evaluation import evaluation_of
from enginebuild_cache import Store
from parts import cli, services
from parts.hub_server import HubServer
from parts.lm_eval_standin import VERSION, lm_eval_image, write_environment, write_task
from parts.oci_image import push
from parts.services import DockerEngine
from parts.trtllm_recipes import Workshop, changed, workshop, write

#: The quantized stand-in hedges where something boils.
QUESTIONS = ("Water boils at", "Two and two is", "The sea is", "Snow is")
FIRM = {"task": "firm", "dataset": "file:./task", "metric": "exact_match", "max_drop": 0.25}
METRIC = "quality, task firm: exact_match,none"


@dataclass(frozen=True)
class Desk:
    """A folder with a recipe, its task and a cache; `values` is the recipe as it passes."""

    shop: Workshop
    folder: Path
    values: dict[str, Any]

    def run(self, *changes: tuple[str, Any]) -> cli.Ended:
        values = self.values
        for path, value in changes:
            values = changed(values, path, value)
        return self.shop.run(write(self.folder, values))

    def report(self, ended: cli.Ended) -> dict[str, Any]:
        name = ended.result["image"]["names"][0]
        report: dict[str, Any] = cli.enginebuild("inspect", name, "--json").ok().document["verification"]
        return report


def statuses(ended: cli.Ended) -> dict[str, str]:
    return {event["step"]: event["status"] for event in ended.events if event["event"] == "step_finished"}


@pytest.fixture(scope="module")
def image(registry: str) -> str:
    return push(lm_eval_image(services.program("busybox")), registry, "lm-eval", VERSION)


@pytest.fixture(scope="module")
def desk(registry: str, docker_engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    folder = tmp_path_factory.mktemp("tasks")
    write_environment(folder / "lm-eval")
    write_task(folder / "task", *QUESTIONS)
    shop = workshop(registry, docker_engine)
    quality = {"tasks": [FIRM], "lm_eval": {"environment": "lm-eval"}}
    values = shop.recipe({"mode": "engine"}, quantization="w8a16", verify={"quality": quality})
    return Desk(shop, folder, values)


@pytest.fixture(scope="module")
def passed(desk: Desk) -> cli.Ended:
    return desk.run().ok()


def test_both_models_solve_the_tasks(desk: Desk, passed: cli.Ended) -> None:
    assert desk.report(passed)["quality"] == {
        "tasks": [
            {
                "task": "firm",
                "metric": "exact_match,none",
                "source": 1.0,
                "value": 0.75,
                "stderr": None,
                "drop": 0.25,
                "samples": 4,
                "version": 0,
                "lm_eval": VERSION,
            }
        ]
    }
    shown = cli.enginebuild("inspect", passed.result["image"]["names"][0]).ok().stdout
    assert "    quality: firm exact_match,none 0.75, unquantized 1 (4 examples)\n" in shown
    assert list(statuses(passed))[-3:] == ["verify_source", "verify", "publish"]
    again = desk.run().ok()
    assert (again.digest, again.statuses["verify"]) == (passed.digest, "hit")


def test_a_bound_that_does_not_hold_publishes_nothing_and_asks_the_source_no_more(
    desk: Desk, passed: cli.Ended
) -> None:
    ended = desk.run(("verify.quality.tasks", [{**FIRM, "max_drop": 0.2}]))
    assert ended.code == 7
    assert ended.result["message"] == (
        f"tiny failed verification:\n  {METRIC} went from 1 to 0.75, a drop of 0.25, max_drop allows 0.2"
    )
    assert statuses(ended)["verify_source"] == "hit"
    assert "publish" not in statuses(ended)
    kept = max(
        (desk.folder / "cache" / "logs").glob("verify-*/report.json"), key=lambda path: path.stat().st_mtime
    )
    assert json.loads(kept.read_text())["quality"]["tasks"][0]["drop"] == 0.25


def test_other_examples_are_another_task(desk: Desk, passed: cli.Ended) -> None:
    shutil.copytree(desk.folder / "task", desk.folder / "other")
    write_task(desk.folder / "other", *QUESTIONS[:2])
    ended = desk.run(("verify.quality.tasks", [{**FIRM, "dataset": "file:./other"}]))
    assert ended.code == 7
    assert ended.result["message"].endswith(
        f"{METRIC} went from 1 to 0.5, a drop of 0.5, max_drop allows 0.25"
    )
    assert statuses(ended)["verify_source"] == "built"


def test_it_runs_in_an_image_too(desk: Desk, passed: cli.Ended, image: str) -> None:
    runs = {"image": image, "num_concurrent": 3}
    tasks = [{**FIRM, "limit": 3, "max_drop": 0.4}]
    ended = desk.run(("verify.quality.lm_eval", runs), ("verify.quality.tasks", tasks)).ok()
    (row,) = desk.report(ended)["quality"]["tasks"]
    assert (row["samples"], row["value"], row["drop"]) == (3, pytest.approx(2 / 3), pytest.approx(1 / 3))


def test_a_data_set_of_the_hub_is_fetched_at_its_commit(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache_dir: Path
) -> None:
    write_task(tmp_path / "root/datasets/org/firm", *QUESTIONS)
    (tmp_path / "root/datasets/org/firm/loads.py").write_text("raise SystemExit\n")
    with HubServer(tmp_path / "root") as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        commit = hub.commit("datasets/org/firm")
        environment = {"environment": str(desk.folder / "lm-eval")}
        tasks = [{**FIRM, "dataset": f"hf://datasets/org/firm@{commit}"}]
        values = changed(desk.values, "verify.quality", {"tasks": tasks, "lm_eval": environment})
        store = Store.open(cache_dir)
        found = evaluation_of(read_checked(write(tmp_path, values)), store, silent)
        assert found is not None
        assert found.tasks[0].pin == f"hf://datasets/org/firm@{commit}"
        assert hub.requests == []  # a commit is a key of its own
        (asked,) = found.requests({"tokenizer.json": b"{}"}, 64)
    assert [body["prompt"] for body in asked] == [[question.split()] for question in QUESTIONS]
    (tree,) = found.known.values()
    assert {file.path for file in tree} == {"firm.yaml", "questions.jsonl"}


@pytest.fixture
def apart(desk: Desk, tmp_path: Path) -> Iterator[Desk]:
    """A desk of its own, on which nothing is built in the end."""
    for name in ("lm-eval", "task"):
        (tmp_path / name).symlink_to(desk.folder / name)
    yield Desk(desk.shop, tmp_path, desk.values)
    assert not list((tmp_path / "cache").rglob("records/*/*.json"))


def test_metrics_that_are_not_there_are_refused_before_anything_is_built(apart: Desk) -> None:
    tasks = [{**FIRM, "metric": "acc"}, {**FIRM, "metric": "acc_norm"}]
    ended = apart.run(("verify.quality.tasks", tasks))
    assert ended.code == 5
    lines = ended.result["message"].splitlines()
    recipe = apart.folder / "tiny.yaml"
    assert [line.removeprefix(f"{recipe}:").partition(": ")[2] for line in lines if "firm has" in line] == [
        "the task firm has no metric acc",
        "the task firm has no metric acc_norm",
    ]
    assert lines.count("  hint: it has exact_match,none") == 2


def test_a_task_that_is_not_there_is_refused_before_anything_is_built(apart: Desk) -> None:
    ended = apart.run(("verify.quality.tasks", [{**FIRM, "task": "other"}]))
    assert ended.code == 5
    first, *_, last = ended.result["message"].splitlines()
    assert first.startswith("the tasks of verify.quality do not run: the step lm_eval failed: ")
    assert last == "  neither lm-eval nor a YAML file of the data set has a task other"


def test_an_environment_without_lm_eval_is_refused(apart: Desk, tmp_path: Path) -> None:
    folder = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    ended = apart.run(("verify.quality.lm_eval.environment", "bare"))
    assert (ended.code, ended.result["message"], ended.result["hint"]) == (
        5,
        f"verify.quality.lm_eval.environment {folder} has no lm_eval",
        "images/builders says how to make one",
    )
    assert apart.run(("verify.quality.lm_eval.environment", "nowhere")).code == 3
