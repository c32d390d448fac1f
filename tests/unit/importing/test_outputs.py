"""Whole outputs: tests/unit/importing/expected, written by `python -m parts.imports` and read by a person."""

from __future__ import annotations

import pytest

from enginebuild.check import check_engine
from enginebuild.importing.sources import imported
from enginebuild.recipe import examine
from parts.imports import EXPECTED, REQUESTS

#: What the check says of those that have something to be filled in.
REFUSED: dict[str, list[str]] = {
    "build-quantize": [
        "missing key 'dataset' in quantization.calibration",
        "mode engine needs the key 'gpu': an engine runs on the GPU alone that it is compiled for",
    ],
    "build-alone": [
        "missing key 'model'",
        "mode engine needs the key 'gpu': an engine runs on the GPU alone that it is compiled for",
    ],
    "trtllm-serve-engine": [
        "mode engine needs the key 'gpu': an engine runs on the GPU alone that it is compiled for",
    ],
}


def test_each_output_belongs_to_a_request() -> None:
    assert {path.stem for path in EXPECTED.iterdir()} == set(REQUESTS)


@pytest.mark.parametrize("name", REQUESTS)
def test_the_output_is(name: str) -> None:
    assert imported(REQUESTS[name]).text == (EXPECTED / f"{name}.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", REQUESTS)
def test_it_passes_the_check_but_for_what_it_says(name: str) -> None:
    found = imported(REQUESTS[name])
    problems = examine(found.text.encode(), name, check_engine)
    assert [problem.message for problem in problems] == REFUSED.get(name, [])
    assert not problems or found.gaps


@pytest.mark.parametrize("name", [name for name in REQUESTS if name in REFUSED])
def test_it_passes_once_its_comments_are_lines(name: str) -> None:
    """The keys that are shown as comments stand where they belong."""
    text = imported(REQUESTS[name]).text
    head, version, body = text.partition("version: 1\n")
    lines = body.replace("# ", "").replace("hf://org/name", "hf://example-org/Wren-8B")
    assert examine((version + lines).encode(), head, check_engine) == []


def test_secrets_are_not_repeated() -> None:
    text = imported(REQUESTS["serve"]).text
    assert "token-123" not in text
    assert "secret" not in text.replace("is a secret", "")
