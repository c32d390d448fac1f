"""`why` names the field of the recipe that was changed: for every field of the format, in every scenario.

The scenarios are those of the table of keys; what a step made is taken to be another wherever its key is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from enginebuild.check import read_checked
from enginebuild.events import silent
from enginebuild.execution import Limits, LocalEnvironment
from enginebuild.plan import plan
from enginebuild.recipe import Recipe
from enginebuild.resolve import resolve
from enginebuild.runners.local import LocalRunner
from enginebuild.sources import ModelRequest
from enginebuild.step import Step
from enginebuild.steps import steps_of
from enginebuild.verify.evaluation import Evaluation, PinnedTask
from enginebuild.verify.gate import Question, verify_step
from enginebuild.verify.server import Subject
from enginebuild.why import Explanation, fields_at_fault, why
from enginebuild.wording import brought_by, causes
from enginebuild_cache import Digest, File, Record, Store, Tree
from integration import test_trtllm_keys as keys
from parts.trtllm_recipes import changed

hub, desk = keys.hub, keys.desk

MADE_BY = {"finished": "2026-11-27T00:00:00+00:00", "subject": "tiny", "tool": "enginebuild 0.1.0"}

#: What else is named: fields whose value changes with that of another, and keys tell only the value.
SERVER = [
    "dtype",
    "engine.type",
    "engine.version",
    "enginebuild",
    "gpu",
    "image.base",
    "pipeline_parallel_size",
    "quantization.method",
    "tensor_parallel_size",
]
BESIDES: Mapping[str, Sequence[str]] = {
    # The digest of an image is another for another platform.
    "image.platform": ("builder.image", "engine.version", "image.base"),
    # An image without a server has nothing of an engine in its key.
    "image.layout": (*SERVER, "engine.mode", "engine.server"),
    # A method brings its own groups.
    "quantization.method": ("quantization.group_size",),
}


def steps(desk: keys.Desk, values: Mapping[str, Any]) -> tuple[Recipe, Sequence[Step]]:
    path: Path = desk.folder / "tiny.yaml"
    path.write_text(json.dumps(values))
    read = read_checked(path)
    bases = keys.NamedBases(desk.folder, lambda: pytest.fail("a registry was asked"))
    return read, steps_of(read, resolve(read, None, desk.store, bases, silent), bases, 1).steps


def recorded(made: Sequence[Step]) -> dict[str, Record]:
    """A record for each step, as a run leaves them."""
    trees: dict[str, Tree] = {}
    records: dict[str, Record] = {}
    for step in made:
        key = step.key(trees)
        tree = step.output if step.output is not None else Tree.of([File("made", key, 1)])
        records[step.name] = Record(key, step.name, step.key_document(trees), tree, MADE_BY)
        trees[step.name] = tree
    return records


def explained(desk: keys.Desk, first: Mapping[str, Any], then: Mapping[str, Any]) -> tuple[Explanation, ...]:
    records = recorded(steps(desk, first)[1])
    by_key = {record.key: record for record in records.values()}
    recipe, wanted = steps(desk, then)
    planned = plan(wanted, lambda _step, key: by_key.get(key), records.get)
    return why(planned, records, recipe)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        (name, path)
        for name, scenario in keys.SCENARIOS.items()
        for path, row in scenario.rows.items()
        if isinstance(row, tuple) and path not in keys.VERIFY
    ],
)
def test_why_names_the_field_that_was_changed(name: str, path: str, desk: keys.Desk) -> None:
    scenario = keys.SCENARIOS[name]
    row = scenario.rows[path]
    assert isinstance(row, tuple)
    value, rebuilt = row
    if path == "model.revision":
        value = desk.hub.commit("org/tiny")
    before = keys.together(scenario.recipe, scenario.given.get(path, {}))
    then = changed(keys.together(before, scenario.along.get(path, {})), path, value)
    found = explained(desk, before, then)
    new = {brought_by(each.step) for each in found if each.status == "miss" and each.since is None}
    named = {*fields_at_fault(found), *new}
    if not rebuilt:
        assert named == set()
        return
    assert [each for each in named if each.startswith(path) or path in each], named
    others = {each for each in named if not (each.startswith(path) or path in each)}
    assert others - set(BESIDES.get(path, ())) == set()
    # A step that was there before and must be made again always has a cause.
    again = [each for each in found if each.status == "miss" and each.since is not None]
    assert [each.step for each in again if not each.causes] == []


def verification(desk: keys.Desk, values: Mapping[str, Any]) -> tuple[Recipe, Step]:
    """The step that verifies the recipe's image, whatever image that is."""
    path = desk.folder / "tiny.yaml"
    path.write_text(json.dumps(values))
    read = read_checked(path)
    assert read.verification is not None
    subject = Subject("tiny", str(Digest.of(b"image")), {})
    question = Question(subject, lambda _tell: nullcontext("tiny"), read.verification)
    return read, verify_step(replace(question, evaluator=evaluation(read, Store.open(desk.folder / "cache"))))


def evaluation(recipe: Recipe, store: Store) -> Evaluation:
    """lm-eval as the recipe names it; another folder is taken for one with another version."""
    assert recipe.verification is not None
    quality = recipe.verification.quality
    assert quality is not None
    assert quality.lm_eval is not None
    tasks = [
        PinnedTask(task, ModelRequest(task.dataset, task.revision, recipe.folder, repo_type="dataset"), None)
        for task in quality.tasks
    ]
    environment = LocalEnvironment(Path("/opt"), {"lm_eval": str(quality.lm_eval.environment)})
    concurrent = quality.lm_eval.num_concurrent
    return Evaluation(tuple(tasks), environment, LocalRunner(), Limits(), concurrent, store, silent)


@pytest.mark.parametrize(
    "path", [path for path, row in keys.VERIFY.items() if path != "verify.timeout" and isinstance(row, tuple)]
)
def test_why_names_what_an_image_must_do(path: str, desk: keys.Desk) -> None:
    row = keys.VLLM.rows[path]
    assert isinstance(row, tuple)
    before = keys.together(keys.VLLM.recipe, keys.verified(keys.VLLM.recipe))
    _, first = verification(desk, before)
    recipe, then = verification(desk, changed(before, path, row[0]))
    (cause,) = causes("verify", first.description(), then.description(), recipe)
    said = {"verify.quality.lm_eval.environment": "verify.quality.lm_eval"}
    assert (cause.recipe, cause.follows) == (said.get(path, path), False)
