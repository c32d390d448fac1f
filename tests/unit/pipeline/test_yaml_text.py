"""The little YAML emitter: what PyYAML, which vLLM and TensorRT-LLM read their files with, gets back."""

from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from enginebuild.yaml_text import emit_lines, emit_value
from enginebuild_cache import Json

texts = st.text(st.characters(exclude_categories=["Cs"]))
values: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=10,
)


@given(values)
def test_every_value_comes_back_as_it_was_from_yaml_and_from_json(value: Json) -> None:
    line = emit_lines([("some-key", value)])
    assert line.count("\n") == 1
    assert repr(yaml.safe_load(line)) == repr({"some-key": value})
    assert repr(json.loads(emit_value(value))) == repr(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("no", '"no"'),
        ("1e3", '"1e3"'),
        ("8:30", '"8:30"'),
        (1e-05, "1.0e-05"),
        (1.5e300, "1.5e+300"),
        (0.1, "0.1"),
        (True, "true"),
        (None, "null"),
        ("😀", '"😀"'),
        ("\x85\u2028\ufeff\x00", r'"\u0085\u2028\ufeff\u0000"'),
        ({"a": [1, {}]}, '{"a": [1, {}]}'),
    ],
)
def test_what_is_written(value: Json, text: str) -> None:
    assert emit_value(value) == text


def test_what_is_not_a_number_is_not_written() -> None:
    with pytest.raises(ValueError) as error:
        emit_value([float("inf")])
    assert str(error.value) == "not a finite number: inf"
