"""The keys `tasks` and `lm_eval` of `verify.quality`: tasks of EleutherAI's lm-evaluation-harness."""

from __future__ import annotations

import re

from enginebuild.recipe import forms, references
from enginebuild.recipe.kinds import Complaint, Count, Text
from enginebuild.recipe.section import Field, Section
from enginebuild.recipe.unknown import answer
from enginebuild.recipe.verify_kinds import TEXT, Number

_COMMIT = re.compile(r"@[0-9a-f]{40}\Z")
_DATASET = "hf://datasets/org/name@0123456789abcdef0123456789abcdef01234567"


def _pinned_dataset(text: str) -> Complaint | None:
    """A folder, or a data set of the Hub at a commit: what verifies is pinned in the recipe itself."""
    complaint = forms.dataset(text)
    if complaint is not None or text.startswith("file:") or _COMMIT.search(text):
        return complaint
    return Complaint(
        "must name a data set by its commit",
        "write @ and the 40 digits of the commit, which the data set's page shows under Files",
    )


def _pinned_image(text: str) -> Complaint | None:
    complaint = references.builder_image(text)
    if complaint is not None or "@sha256:" in text:
        return complaint
    return Complaint("must name an image by its digest", f"write {text}@sha256:DIGEST")


TASK = Section(
    (
        Field(
            "task",
            TEXT,
            "The task's name: one of lm-eval's own, or of a YAML file in `dataset`.",
            "arc_easy",
            required=True,
        ),
        Field(
            "dataset",
            Text(
                "hf://datasets/org/name@commit or file:./folder",
                _pinned_dataset,
                r"^(hf:(//)?datasets/[A-Za-z0-9_][A-Za-z0-9_.-]*/[A-Za-z0-9_][A-Za-z0-9_.-]*@[0-9a-f]{40}|file:.+)$",
                f"write for example {_DATASET}",
            ),
            "The task's examples, and its YAML file if lm-eval has none: a folder relative to the recipe, or "
            "a data set of the Hub at a commit.",
            _DATASET,
            required=True,
        ),
        Field(
            "metric",
            TEXT,
            "A metric of the task's result, such as acc, or with its filter, as in exact_match,strict-match.",
            "acc",
            required=True,
        ),
        Field(
            "max_drop",
            Number(zero=True),
            "How much worse the quantized model may be, as a share of what the unquantized one reaches: 0.02 "
            "for 2 percent.",
            0.02,
            required=True,
        ),
        Field("num_fewshot", Count(0), "Solved examples before each question; by default the task's own.", 5),
        Field("limit", Count(), "Only the first so many examples. By default all.", 100),
    ),
    answer,
)

LM_EVAL = Section(
    (
        Field(
            "environment",
            Text("a folder", forms.environment, "", "write for example /opt/lm-eval"),
            "Folder of the Python environment that has it, relative to the recipe.",
            "/opt/lm-eval",
        ),
        Field(
            "image",
            Text("an image by digest", _pinned_image, r"@sha256:[0-9a-f]{64}$"),
            "Instead: an image that has it, by digest; it runs in the Docker Engine.",
            f"registry.example.com/lm-eval@sha256:{'0123456789abcdef' * 4}",
        ),
        Field(
            "num_concurrent",
            Count(),
            "Requests under way at the same time: more are faster, and share batches, which changes digits.",
            8,
            1,
        ),
    ),
    answer,
    conditions={"oneOf": [{"required": ["environment"]}, {"required": ["image"]}]},
)
