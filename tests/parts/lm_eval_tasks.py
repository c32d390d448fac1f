"""Two small tasks of lm-eval in a folder, as a user writes them: questions, and how likely sentences are."""

from __future__ import annotations

import json
from pathlib import Path

CAPITALS = {"France": "Paris", "Italy": "Rome", "Spain": "Madrid", "Japan": "Tokyo", "Egypt": "Cairo"}

_QUESTIONS = """\
task: capitals
dataset_path: json
dataset_kwargs:
  data_files: {test: capitals.jsonl}
test_split: test
output_type: generate_until
doc_to_text: "The capital of {{country}} is"
doc_to_target: "{{capital}}"
generation_kwargs: {until: [".", ",", "\\n"], max_gen_toks: 8, do_sample: false}
filter_list:
  - name: stripped
    filter: [{function: remove_whitespace}, {function: take_first}]
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true}
metadata: {version: 1.0}
"""
_SENTENCES = """\
task: sentences
dataset_path: json
dataset_kwargs:
  data_files: {test: capitals.jsonl}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "The capital of {{country}} is {{capital}}, a city that many people visit every year."
metric_list:
  - {metric: word_perplexity, aggregation: weighted_perplexity, higher_is_better: false}
  - {metric: bits_per_byte, aggregation: bits_per_byte, higher_is_better: false}
metadata: {version: 1.0}
"""


def write_tasks(folder: Path) -> None:
    """`capitals` and `sentences` with their examples."""
    folder.mkdir(parents=True)
    (folder / "capitals.yaml").write_text(_QUESTIONS)
    (folder / "sentences.yaml").write_text(_SENTENCES)
    lines = (json.dumps({"country": country, "capital": city}) + "\n" for country, city in CAPITALS.items())
    (folder / "capitals.jsonl").write_text("".join(lines))
