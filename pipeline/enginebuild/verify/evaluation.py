"""lm-eval on the tasks of a recipe: which ones exactly, in what it runs, and what it makes of answers.

It runs without a server and without a network, once to write down its requests and once to score the answers:
so any runner will do, wherever the server is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import cast

from enginebuild.builder import installed
from enginebuild.errors import Problem, RefusedError, StepError
from enginebuild.events import Report as Tell
from enginebuild.execution import (
    INPUT,
    OUTPUT,
    SCRIPTS,
    ContainerEnvironment,
    Environment,
    Execution,
    Folders,
    Limits,
    LocalEnvironment,
    Runner,
)
from enginebuild.recipe import Recipe
from enginebuild.recipe.verification import LmEval, Task
from enginebuild.sources import ModelRequest, ResolvedModel, fetch
from enginebuild.sources import resolve as resolve_source
from enginebuild.steps.commands import RunCommands
from enginebuild.verify.tasks import Bodies, metric_names, metric_problem
from enginebuild_cache import Digest, File, Json, Store, Tree

#: Packages whose versions decide what lm-eval says; those that are not there are left out.
PACKAGES = (
    "datasets",
    "evaluate",
    "jinja2",
    "lm_eval",
    "nltk",
    "numpy",
    "rouge_score",
    "sacrebleu",
    "scikit-learn",
    "sympy",
    "tokenizers",
    "transformers",
)
NAME = "lm_eval"
_PROGRAM = "lm_eval_tasks.py"
_TOKENIZER, _ANSWERS = "tokenizer", "answers"
_DATA = ("*.jsonl", "*.json", "*.parquet", "*.csv", "*.tsv", "*.txt", "*.yaml", "*.yml", "README.md")
#: What YAML files may call by !function: code of one's own, and never of a data set of the Hub.
_OWN = ("*.py",)


@dataclass(frozen=True)
class PinnedTask:
    """A task with its files: a folder's, or None for a data set of the Hub, which its commit pins."""

    task: Task
    request: ModelRequest
    files: ResolvedModel | None

    @property
    def pin(self) -> str:
        if self.files is None:
            return f"{self.request.source}@{self.request.revision}"
        return str(self.files.tree.digest)

    def key_fields(self) -> dict[str, Json]:
        """What decides the result: neither the metric nor the bound, which are read off it."""
        return {
            "task": self.task.task,
            "dataset": self.pin,
            "num_fewshot": self.task.num_fewshot,
            "limit": self.task.limit,
        }

    def asked(self) -> dict[str, Json]:
        """For the program."""
        return {"task": self.task.task, "num_fewshot": self.task.num_fewshot, "limit": self.task.limit}


@dataclass(frozen=True)
class Evaluation:
    """lm-eval in its environment. Implements `Evaluator`; raises StepError, its log kept, where it fails."""

    tasks: tuple[PinnedTask, ...]
    environment: Environment
    runner: Runner
    limits: Limits
    num_concurrent: int
    store: Store
    tell: Tell
    known: dict[str, Tree] = field(default_factory=dict)

    def key_fields(self) -> dict[str, Json]:
        return {
            "environment": str(self.environment),
            "script": str(Digest.of(_program())),
            "num_concurrent": self.num_concurrent,
            "tasks": [task.key_fields() for task in self.tasks],
        }

    def lacking(self) -> tuple[str, ...]:
        """What is missing to run it, each as one sentence."""
        return self.runner.missing(self._execution("list", ("task-1",)))

    def require(self, recipe: Recipe) -> None:
        """Refuse tasks and metrics that are not there, by one example of each.

        Raises RefusedError with everything that is wrong, SourceError.
        """
        try:
            results = self._ran("list", {}, 2)
        except StepError as error:
            raise RefusedError(
                f"the tasks of verify.quality do not run: {error.message}", error.hint
            ) from error
        problems = []
        for number, (task, result) in enumerate(
            zip((each.task for each in self.tasks), results, strict=True)
        ):
            if problem := metric_problem(task, result):
                path = ("verify", "quality", "tasks", number, "metric")
                problems.append(Problem(path, problem, f"it has {', '.join(metric_names(result))}"))
        if problems:
            raise RefusedError(recipe.located(problems).message)

    def requests(self, tokenizer: Mapping[str, bytes], max_length: int) -> Bodies:
        return cast("Bodies", self._ran("collect", {_TOKENIZER: tokenizer}, max_length))

    def results(
        self, tokenizer: Mapping[str, bytes], max_length: int, asked: Bodies, answers: Bodies
    ) -> tuple[Mapping[str, Json], ...]:
        pairs = json.dumps(list(zip(asked, answers, strict=True)), default=list).encode()
        given = {_TOKENIZER: tokenizer, _ANSWERS: {"answers.json": pairs}}
        return tuple(self._ran("score", given, max_length))

    def _ran(
        self, phase: str, given: Mapping[str, Mapping[str, bytes]], max_length: int
    ) -> list[Mapping[str, Json]]:
        trees = {name: self._tree(files) for name, files in given.items()}
        trees |= {f"task-{number}": self._brought(task) for number, task in enumerate(self.tasks, 1)}
        asked = {f"task-{number}": task.asked() for number, task in enumerate(self.tasks, 1)}
        request = json.dumps({"tasks": asked, "max_length": max_length}).encode()
        scripts = {_PROGRAM: _program(), "request.json": request}
        run = RunCommands(self._execution(phase, tuple(trees)), self.runner, _nothing_to_check, scripts)
        made = run(trees, self.store, self.tell).tree
        found: list[Mapping[str, Json]] = json.loads(self.store.read_bytes(made.file(f"{phase}.json")))
        return found

    def _execution(self, phase: str, inputs: Sequence[str]) -> Execution:
        program, request = str(SCRIPTS / _PROGRAM), str(SCRIPTS / "request.json")
        folders = (f"{name}={INPUT / name}" for name in inputs)
        command = ("python3", program, phase, request, str(OUTPUT), *folders)
        return Execution(NAME, self.environment, (command,), limits=self.limits)

    def _brought(self, pinned: PinnedTask) -> Tree:
        """The task's files, in the store."""
        if pinned.pin not in self.known:
            resolved = pinned.files or resolve_source(pinned.request, self.store, self.tell)
            fetch(pinned.request, resolved, self.store, self.tell)
            self.known[pinned.pin] = resolved.tree
        return self.known[pinned.pin]

    def _tree(self, files: Mapping[str, bytes]) -> Tree:
        return Tree.of(
            [File(name, self.store.put_bytes(content), len(content)) for name, content in files.items()]
        )


def evaluation_of(recipe: Recipe, store: Store, tell: Tell) -> Evaluation | None:
    """None where the recipe has no tasks. Raises SourceError, RefusedError."""
    quality = recipe.verification.quality if recipe.verification is not None else None
    if recipe.verification is None or quality is None or quality.lm_eval is None:
        return None
    from enginebuild.runners import make

    return Evaluation(
        tuple(_pinned(recipe, task, store, tell) for task in quality.tasks),
        _environment(recipe, quality.lm_eval),
        make("docker" if quality.lm_eval.environment is None else "local", tell),
        Limits(recipe.verification.timeout),
        quality.lm_eval.num_concurrent,
        store,
        tell,
    )


def _pinned(recipe: Recipe, task: Task, store: Store, tell: Tell) -> PinnedTask:
    local = task.dataset.startswith("file:")
    request = ModelRequest(
        task.dataset,
        task.revision,
        recipe.folder,
        allow_patterns=(*_DATA, *(_OWN if local else ())),
        token_variable=recipe.model.auth,
        repo_type="dataset",
    )
    return PinnedTask(task, request, resolve_source(request, store, tell) if local else None)


def _environment(recipe: Recipe, runs: LmEval) -> Environment:
    if runs.environment is None:
        assert runs.image is not None
        name, _, digest = runs.image.partition("@")
        return ContainerEnvironment(name, Digest.parse(digest), recipe.image.platform)
    folder = (recipe.folder / runs.environment).absolute()
    key = "verify.quality.lm_eval.environment"
    versions = installed(folder, PACKAGES, key)
    if "lm_eval" not in versions:
        raise RefusedError(f"{key} {folder} has no lm_eval", "images/builders says how to make one")
    return LocalEnvironment(folder, versions)


def _program() -> bytes:
    return (files("enginebuild.verify") / "scripts" / _PROGRAM).read_bytes()


def _nothing_to_check(_folders: Folders) -> None:
    """Its answer is read as a document afterwards."""
