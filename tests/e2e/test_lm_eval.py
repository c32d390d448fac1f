"""The real lm-eval in its own environment, without a server: what it asks, and how it scores answers."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from enginebuild.errors import StepError
from enginebuild.events import silent
from enginebuild.execution import ContainerEnvironment, Limits, LocalEnvironment
from enginebuild.recipe.verification import Task
from enginebuild.runners.docker import DockerRunner
from enginebuild.runners.local import LocalRunner
from enginebuild.sources import ModelRequest, resolve
from enginebuild.verify.evaluation import Evaluation, PinnedTask
from enginebuild_cache import Digest, Store
from parts import services
from parts.lm_eval_tasks import CAPITALS, write_tasks
from parts.oci_image import push
from parts.quantizers import quantizer
from parts.tiny_llama import write_tiny_llama
from parts.vllm_base import environment_image

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.docker]

SENTENCE = "The capital of {} is {}, a city that many people visit every year."
#: lm-eval's own task reads the data set's configuration ARC-Easy, which its card names on the Hub, too.
_CARD = """---
configs:
- config_name: ARC-Easy
  data_files:
  - {split: train, path: ARC-Easy/train.jsonl}
  - {split: validation, path: ARC-Easy/validation.jsonl}
  - {split: test, path: ARC-Easy/test.jsonl}
---
"""


def write_arc(folder: Path) -> None:
    (folder / "ARC-Easy").mkdir(parents=True)
    (folder / "README.md").write_text(_CARD)
    choices = {"text": ["coal", "water", "sand", "glass"], "label": ["A", "B", "C", "D"]}
    example = {"id": "1", "question": "What do fish swim in?", "choices": choices, "answerKey": "B"}
    for split in ("train", "validation", "test"):
        (folder / "ARC-Easy" / f"{split}.jsonl").write_text(json.dumps(example) + "\n")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store.open(tmp_path_factory.mktemp("lm-eval") / "cache")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("tiny")
    write_tiny_llama(folder / "model")
    return {
        name: (folder / "model" / name).read_bytes()
        for name in ("tokenizer.json", "tokenizer_config.json", "config.json")
    }


def evaluation(store: Store, folder: Path, *tasks: Task) -> Evaluation:
    requests = [ModelRequest(task.dataset, None, folder, ("*",), repo_type="dataset") for task in tasks]
    pinned = [
        PinnedTask(task, request, resolve(request, store, silent))
        for task, request in zip(tasks, requests, strict=True)
    ]
    environment = LocalEnvironment(quantizer("lm-eval"), {"lm_eval": "0.4.13"})
    return Evaluation(tuple(pinned), environment, LocalRunner(), Limits(timeout=300), 1, store, silent)


def mine(name: str, metric: str, **more: Any) -> Task:
    return Task(name, "file:./tasks", None, metric, 0.1, **more)


def texts(*said: str) -> list[dict[str, Any]]:
    return [{"choices": [{"index": 0, "text": text}]} for text in said]


def likely(asked: Sequence[Any], each: float) -> list[dict[str, Any]]:
    """Answers to `echo` in which each token has one probability."""
    found = []
    for request in asked:
        (tokens,) = request["prompt"]
        logprobs = {
            "token_logprobs": [None, *[each] * len(tokens)],
            "top_logprobs": [None, *[{"x": each}] * len(tokens)],
        }
        found.append({"choices": [{"index": 0, "text": "", "logprobs": logprobs}]})
    return found


def test_it_asks_and_scores_tasks_of_a_folder(
    tmp_path: Path, store: Store, tokenizer: dict[str, bytes]
) -> None:
    write_tasks(tmp_path / "tasks")
    found = evaluation(
        store,
        tmp_path,
        mine("capitals", "exact_match", num_fewshot=0, limit=3),
        mine("sentences", "word_perplexity"),
    )
    requests: Any = found.requests(tokenizer, 128)
    questions, sentences = requests
    assert (len(questions), len(sentences)) == (3, len(CAPITALS))
    asked = dict(questions[0])
    assert all(isinstance(token, int) for token in asked.pop("prompt")[0])
    # Its own seed, greedy, and what the YAML says beside the tokenizer's own end.
    assert asked == {
        "max_tokens": 8,
        "temperature": 0,
        "seed": 1234,
        "stop": [".", ",", "\n", "<|im_end|>"],
    }
    assert {request["echo"] for request in sentences} == {True}

    answers = [texts(" Paris", " Paris", " Paris"), likely(sentences, -0.5)]
    results: Any = found.results(tokenizer, 128, [questions, sentences], answers)
    scored, rolled = results
    assert scored["metrics"]["exact_match,stripped"] == pytest.approx(1 / 3)
    assert (scored["samples"], scored["lm_eval"]) == (3, "0.4.13")
    lines = (SENTENCE.format(country, city) for country, city in CAPITALS.items())
    words = sum(len(line.split()) for line in lines)
    tokens = sum(len(request["prompt"][0]) - 1 for request in sentences)
    assert rolled["metrics"]["word_perplexity,none"] == pytest.approx(math.exp(0.5 * tokens / words))
    assert rolled["higher_is_better"] == {"word_perplexity": False, "bits_per_byte": False}


def test_it_asks_the_same_in_an_image_without_a_network(
    tmp_path: Path, store: Store, tokenizer: dict[str, bytes], registry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tasks(tmp_path / "tasks")
    here = evaluation(store, tmp_path, mine("capitals", "exact_match"))
    engine = services.own_engine("docker-mounting", mounting=True)
    monkeypatch.setenv("DOCKER_HOST", engine.host)
    folder = quantizer("lm-eval")
    made = environment_image(folder / "bin" / "python", folder, services.program("busybox"))
    name, _, digest = push(made, registry, "lm-eval", "0.4.13").partition("@")
    environment = ContainerEnvironment(name, Digest.parse(digest))
    there = replace(here, environment=environment, runner=DockerRunner(silent))
    assert there.lacking() == ()
    assert there.requests(tokenizer, 128) == here.requests(tokenizer, 128)


def test_it_takes_its_own_tasks_with_the_examples_of_a_folder(
    tmp_path: Path, store: Store, tokenizer: dict[str, bytes]
) -> None:
    write_arc(tmp_path / "arc")
    found = evaluation(store, tmp_path, Task("arc_easy", "file:./arc", None, "acc", 0.1, num_fewshot=0))
    (asked,) = found.requests(tokenizer, 256)
    assert len(asked) == 4  # one of each choice
    (result,) = found.results(tokenizer, 256, [asked], [likely(asked, -0.1)])
    metrics: Any = result["metrics"]
    assert {name for name in metrics if "stderr" not in name} == {"acc,none", "acc_norm,none"}


def test_what_cannot_be_run_is_said_in_a_sentence(
    tmp_path: Path, store: Store, tokenizer: dict[str, bytes]
) -> None:
    write_arc(tmp_path / "arc")
    for name, said in (
        ("arc_nonsense", "neither lm-eval nor a YAML file of the data set has a task arc_nonsense"),
        ("ai2_arc", "ai2_arc is a group of lm-eval's tasks: name each of them with its data set"),
    ):
        with pytest.raises(StepError) as caught:
            evaluation(store, tmp_path, Task(name, "file:./arc", None, "acc", 0.1)).requests(tokenizer, 64)
        assert caught.value.message.splitlines()[-1] == f"  {said}"
    write_tasks(tmp_path / "tasks")
    with pytest.raises(StepError) as caught:
        evaluation(store, tmp_path, mine("capitals", "exact_match")).requests({"tokenizer.json": b"{"}, 64)
    assert caught.value.message.splitlines()[-1].startswith("  the image's tokenizer cannot be loaded: ")
