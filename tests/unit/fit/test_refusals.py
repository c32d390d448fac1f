"""What is refused, its whole text, and that what is advised works: refusals.txt.

A case is `# what`, a line with the kind of recipe, the model, its quantization and what is set, and then each
refusal: check, message, advice.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from parts.fits import FORMS, L405, fitted, written

CASES = {
    lines[0]: lines[1:]
    for block in (Path(__file__).parent / "refusals.txt")
    .read_text("utf-8")
    .removeprefix("# ")
    .split("\n\n# ")
    if (lines := block.strip().splitlines())
}


def _asked(case: str) -> tuple[str, str, str, list[str]]:
    target, model, form, *overrides = CASES[case][0].split(" ")
    return target, model, form, overrides


@pytest.mark.parametrize("case", CASES)
def test_what_is_refused(case: str, tmp_path: Path) -> None:
    target, model, form, overrides = _asked(case)
    found = fitted(written(tmp_path, target, overrides), model, FORMS[form])
    texts = [text for each in found.refusals for text in (each.check, each.message, each.advice())]
    assert texts == CASES[case][1:]
    assert texts


@pytest.mark.parametrize("case", CASES)
def test_each_advice_works(case: str, tmp_path: Path) -> None:
    """It passes the recipe's own checks, mends what it is for and breaks nothing else."""
    target, model, form, overrides = _asked(case)
    refusals = fitted(written(tmp_path, target, overrides), model, FORMS[form]).refusals
    before = {each.check for each in refusals}
    for finding in refusals:
        assert finding.advice()
        for change in finding.changes:
            after = fitted(written(tmp_path, target, [*overrides, *change.overrides]), model, FORMS[form])
            assert {each.check for each in after.refusals} <= before - {finding.check}, change


def test_where_nothing_helps_nothing_is_advised(tmp_path: Path) -> None:
    found = fitted(written(tmp_path, "vllm", ["gpu=GB300-288GB"]), L405, None, num_hidden_layers=12600)
    (finding,) = found.refusals
    assert (finding.check, finding.changes, finding.advice()) == ("memory", (), "")


def test_two_changes_together_where_one_does_not_do(tmp_path: Path) -> None:
    found = fitted(written(tmp_path, "vllm", ["gpu=B300-SXM-288GB"]), L405, None, num_hidden_layers=504)
    (finding,) = found.refusals
    assert finding.advice() == "write tensor_parallel_size: 4 with quantization: w4a16"
    assert finding.changes[0].overrides == ["tensor_parallel_size=4", "quantization=w4a16"]
