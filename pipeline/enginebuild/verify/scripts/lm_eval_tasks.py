"""Tasks of lm-eval without a server: `lm_eval_tasks.py list|collect|score request.json FOLDER NAME=FOLDER …`.

Runs in lm-eval's own environment, and writes into the first folder. `list`: what each task measures;
`collect`: the requests that lm-eval's model `local-completions` would send; `score`: what comes of them.
Written for lm-eval 0.4.13. A mistake of the user's ends the program with one sentence on standard error.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import importlib
import json
import math
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

#: What the Hub's libraries and tokenizers read when they are imported.
_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_EVALUATE_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}

#: What libraries raise for files that are not as they must be.
_FAULTS = (KeyError, ValueError, OSError, AttributeError, TypeError, ImportError)

#: Takes the body of a request and gives that of its answer.
Exchange = Callable[[dict[str, Any]], dict[str, Any]]


class Recorder:
    """Writes requests down, and answers each with nothing, in the form that lm-eval expects."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []

    def __call__(self, body: dict[str, Any]) -> dict[str, Any]:
        self.requests.append(body)
        choices = []
        for index, tokens in enumerate(body["prompt"]):
            each: dict[str, Any] = {"index": index, "text": ""}
            if body.get("echo"):
                each["logprobs"] = {
                    "token_logprobs": [None, *[-1.0] * len(tokens)],
                    "top_logprobs": [None, *[{"": -1.0}] * len(tokens)],
                }
            choices.append(each)
        return {"choices": choices}


class Player:
    """Answers requests with what a server said to the same ones; equal requests in their order."""

    def __init__(self, task: str, requests: Sequence[Any], answers: Sequence[Any]) -> None:
        self._task = task
        self._answers: dict[str, list[Any]] = {}
        for request, answer in zip(requests, answers, strict=True):
            self._answers.setdefault(_text(request), []).append(answer)

    def __call__(self, body: dict[str, Any]) -> dict[str, Any]:
        left = self._answers.get(_text(body))
        if not left:
            raise SystemExit(
                f"the task {self._task} asks otherwise than it did: its requests hang on answers"
            )
        answer: dict[str, Any] = left.pop(0)
        return answer


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _text(body: Mapping[str, Any]) -> str:
    return json.dumps(body, sort_keys=True)


def model(exchange: Exchange, tokenizer: Path, max_length: int) -> Any:
    """lm-eval's `local-completions`, which speaks to us instead of to a server."""
    completions: Any = importlib.import_module("lm_eval.models.openai_completions")

    class Exchanged(completions.LocalCompletionsAPI):  # type: ignore[misc] # untyped: not installed here
        def model_call(
            self,
            messages: Any,
            *,
            generate: bool = True,
            gen_kwargs: Any = None,
            **kwargs: Any,
        ) -> dict[str, Any]:
            body = self._create_payload(
                self.create_message(messages),
                generate=generate,
                gen_kwargs=copy.deepcopy(gen_kwargs),
                seed=self._seed,
                eos=self.eos_string,
                **kwargs,
            )
            del body["model"]  # what the server calls it decides nothing
            return exchange(body)

    try:
        return Exchanged(
            model="",
            base_url="http://127.0.0.1",
            tokenizer=str(tokenizer),
            tokenizer_backend="huggingface",
            max_length=max_length,
        )
    except _FAULTS as error:
        raise SystemExit(f"the image's tokenizer cannot be loaded: {_said(error)}") from error


def evaluated(task: Mapping[str, Any], folder: Path, lm: Any, limit: int | None) -> dict[str, Any]:
    """What a task measures of a model, in the words of lm-eval's result."""
    lm_eval: Any = importlib.import_module("lm_eval")
    name = task["task"]
    # What a YAML file names is relative to its folder.
    with tempfile.TemporaryDirectory() as scratch, _inside(folder):
        try:
            found = lm_eval.simple_evaluate(
                lm,
                tasks=[name],
                task_manager=_defined(name, folder, Path(scratch)),
                num_fewshot=task["num_fewshot"],
                limit=limit,
                log_samples=False,
            )
        except _FAULTS as error:
            raise SystemExit(f"the task {name} cannot be run: {_said(error)}") from error
    numbers = {
        key: value if math.isfinite(value) else None
        for key, value in found["results"][name].items()
        if "," in key and isinstance(value, int | float)
    }
    samples = [each["effective"] for each in found["n-samples"].values()]
    return {
        "task": name,
        "metrics": numbers,
        "higher_is_better": found["higher_is_better"].get(name, {}),
        "samples": sum(samples),
        "version": found["versions"].get(name),
        "lm_eval": str(importlib.import_module("importlib.metadata").version("lm_eval")),
    }


def _defined(name: str, folder: Path, scratch: Path) -> Any:
    """The tasks that the folder defines; else lm-eval's own of that name, with the folder's examples."""
    tasks: Any = importlib.import_module("lm_eval.tasks")
    if _is_defined(name, folder):
        return tasks.TaskManager(include_path=str(folder), include_defaults=False)
    manager = tasks.TaskManager()
    if name not in manager.all_tasks:
        raise SystemExit(f"neither lm-eval nor a YAML file of the data set has a task {name}")
    own = manager.task_index[name].yaml_path
    if own is None or name in {*manager.all_groups, *manager.all_tags}:
        raise SystemExit(f"{name} is a group of lm-eval's tasks: name each of them with its data set")
    changed = {"include": str(own), "task": name, "dataset_path": str(folder)}
    (scratch / "task.yaml").write_text(json.dumps(changed), "utf-8")
    return tasks.TaskManager(include_path=str(scratch), include_defaults=False)


def _is_defined(name: str, folder: Path) -> bool:
    line = re.compile(rf"""^(task|group): *["']?{re.escape(name)}["']? *(#.*)?$""", re.MULTILINE)
    files = [*folder.rglob("*.yaml"), *folder.rglob("*.yml")]
    return any(line.search(file.read_text("utf-8", "replace")) for file in files)


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def listed(request: Mapping[str, Any], given: Mapping[str, Path]) -> list[Any]:
    """One example of each task by lm-eval's model that needs none."""
    dummy: Any = importlib.import_module("lm_eval.models.dummy")
    return [
        evaluated(task, given[folder], dummy.DummyLM(), limit=1) for folder, task in request["tasks"].items()
    ]


def collected(request: Mapping[str, Any], given: Mapping[str, Path]) -> list[Any]:
    found = []
    for folder, task in request["tasks"].items():
        recorder = Recorder()
        lm = model(recorder, given["tokenizer"], request["max_length"])
        evaluated(task, given[folder], lm, task["limit"])
        found.append(recorder.requests)
    return found


def scored(request: Mapping[str, Any], given: Mapping[str, Path]) -> list[Any]:
    answers = json.loads((given["answers"] / "answers.json").read_text("utf-8"))
    found = []
    for (folder, task), (asked, said) in zip(request["tasks"].items(), answers, strict=True):
        player = Player(task["task"], asked, said)
        lm = model(player, given["tokenizer"], request["max_length"])
        found.append(evaluated(task, given[folder], lm, task["limit"]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("phase", choices=("list", "collect", "score"))
    parser.add_argument("request", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("inputs", nargs="+")
    arguments = parser.parse_args()
    os.environ.update(_ENVIRONMENT)
    request = json.loads(arguments.request.read_text("utf-8"))
    phase = {"list": listed, "collect": collected, "score": scored}[arguments.phase]
    named = (word.partition("=") for word in arguments.inputs)
    found = phase(request, {name: Path(folder).absolute() for name, _, folder in named})
    (arguments.output / f"{arguments.phase}.json").write_text(json.dumps(found), "utf-8")


if __name__ == "__main__":
    main()
