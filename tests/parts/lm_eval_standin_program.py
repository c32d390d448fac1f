"""Stands in for the package lm_eval: as much of it as enginebuild's program imports. Standard library alone.

A task is a folder with questions; its metric `exact_match` is the share of the answers that do not hedge.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class DummyLM:
    def answer(self, question: str) -> str:
        return question


class LocalCompletionsAPI:
    def __init__(self, *, model: str, tokenizer: str, max_length: int, **_more: Any) -> None:
        if not (Path(tokenizer) / "tokenizer.json").is_file():
            raise OSError(f"{tokenizer} has no tokenizer")
        self.model, self.eos_string, self._seed = model, f"</{max_length}>", 1234

    def create_message(self, messages: list[list[str]]) -> list[list[str]]:
        return messages

    def _create_payload(self, messages: Any, *, seed: int, eos: str, **_more: Any) -> dict[str, Any]:
        return {"model": self.model, "prompt": messages, "max_tokens": 8, "seed": seed, "stop": [eos]}

    def model_call(self, messages: Any, *, generate: bool, gen_kwargs: Any) -> Any:
        raise AssertionError("there is no server to call")

    def answer(self, question: str) -> str:
        said = self.model_call([question.split()], generate=True, gen_kwargs={})
        return str(said["choices"][0]["text"])


class TaskManager:
    def __init__(self, include_path: str | None = None, include_defaults: bool = True) -> None:
        self.all_tasks: list[str] = []


def simple_evaluate(
    lm: Any, *, tasks: list[str], limit: int | None, num_fewshot: int | None, **_more: Any
) -> dict[str, Any]:
    (name,) = tasks
    lines = Path("questions.jsonl").read_text("utf-8").splitlines()[:limit]
    answers = [lm.answer(json.loads(line)["question"]) for line in lines]
    firm = sum(1 for answer in answers if "about" not in answer) / len(answers)
    return {
        "results": {name: {"alias": name, "exact_match,none": firm, "exact_match_stderr,none": "N/A"}},
        "higher_is_better": {name: {"exact_match": True}},
        "n-samples": {name: {"original": len(lines), "effective": len(answers)}},
        "versions": {name: num_fewshot or 0},
    }
