"""Too little calibration text for a model of real size is refused, with the number that does."""

from __future__ import annotations

from pathlib import Path

import pytest

from enginebuild.fit import Fit
from parts.fits import L8, fitted, written

LAYERS = {"num_hidden_layers": 1, "hidden_size": 256, "intermediate_size": 512, "vocab_size": 1024}


def found(folder: Path, texts: str, *more: str, **changed: int) -> Fit:
    section = f"quantization={{method: fp8, calibration: {{dataset: 'file:./texts', {texts}}}}}"
    return fitted(written(folder, "vllm", [section, *more]), L8, None, **changed)


@pytest.mark.parametrize(
    ("texts", "tokens", "enough"),
    [
        ("num_samples: 8, max_seq_length: 64", "8 texts of at most 64 tokens are 512 tokens", 256),
        ("num_samples: 31", "31 texts of at most 512 tokens are 15872 tokens", 32),
        (
            "num_samples: 19, max_seq_length: 2048",
            "19 texts of at most 2048 tokens are 38912 tokens",
            20,
        ),
    ],
)
def test_too_little_for_eight_billion_parameters(
    tmp_path: Path, texts: str, tokens: str, enough: int
) -> None:
    (finding,) = found(tmp_path, texts).refusals
    assert (finding.check, finding.path) == ("calibration", ("quantization", "calibration"))
    assert finding.message == (
        f"{tokens} to calibrate a model of 8.0 billion parameters with; at least 20 texts and 16384 tokens "
        "are wanted"
    )
    assert finding.advice() == f"write num_samples: {enough}"
    (change,) = finding.changes
    assert not found(tmp_path, texts, *change.overrides).refusals


def test_it_may_be_asked_for(tmp_path: Path) -> None:
    (warning,) = found(tmp_path, "num_samples: 8", "allow=[calibration]").warnings
    assert (warning.check, warning.allowed) == ("calibration", True)


def test_what_is_enough(tmp_path: Path) -> None:
    for texts in ("num_samples: 32", "num_samples: 20, max_seq_length: 2048", "seed: 1"):
        assert not found(tmp_path, texts).findings


def test_a_small_model_and_one_whose_size_is_not_known_take_what_there_is(tmp_path: Path) -> None:
    assert not found(tmp_path, "num_samples: 2", **LAYERS).refusals
    section = "quantization={method: fp8, calibration: {dataset: 'file:./texts', num_samples: 2}}"
    unknown = fitted(written(tmp_path, "vllm", [section]), L8, None, model_type="unheard-of")
    assert "calibration" not in {finding.check for finding in unknown.refusals}
