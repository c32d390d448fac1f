"""Licences that ask to be read."""

from __future__ import annotations

import pytest

from enginebuild.models.licence import licence_warning

OWN = "the model's licence is {}, which has terms of its own"
NOT_COMMERCIAL = "the model's licence is {}, which by its name allows no commercial use"


@pytest.mark.parametrize(
    "licence", [None, "apache-2.0", "Apache-2.0", "mit", "cc-by-4.0", "cc-by-sa-4.0", "gpl-3.0"]
)
def test_open_ones(licence: str | None) -> None:
    assert licence_warning(licence) is None


@pytest.mark.parametrize(
    "licence", ["llama3.1", "gemma", "other", "openrail", "qwen", "cc-by-nd-4.0", "unknown"]
)
def test_those_of_makers(licence: str) -> None:
    assert licence_warning(licence) == OWN.format(licence)


@pytest.mark.parametrize(
    "licence",
    [
        "cc-by-nc-4.0",
        "cc-by-nc-sa-4.0",
        "CC-BY-NC-ND-4.0",
        "fair-noncommercial-research-license",
        "acme-non-commercial",
        "apple-amlr",
        "intel-research",
        "mistral-ai-research-licence",
    ],
)  # fmt: skip
def test_those_that_allow_no_commercial_use(licence: str) -> None:
    assert licence_warning(licence) == NOT_COMMERCIAL.format(licence)
