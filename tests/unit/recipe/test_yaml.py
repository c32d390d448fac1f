"""YAML values: YAML 1.2's core schema, strings as written, anchors within their budget."""

from __future__ import annotations

import pytest

from enginebuild.errors import RecipeError
from enginebuild.recipe import parse
from enginebuild.recipe.compose import Composer
from enginebuild.recipe.node import MappingNode, to_json
from enginebuild.recipe.text import Source
from enginebuild_cache import Json


def value_of(text: str) -> Json:
    composer = Composer(Source("r.yaml", f"x: {text}\n"))
    node = composer.compose()
    assert node is not None
    assert composer.findings == []
    document = to_json(node)
    assert isinstance(document, dict)
    return document["x"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        # yaml.org/spec/1.2.2, table of chapter 10.3.2
        ("", None),
        ("~", None),
        ("null", None),
        ("Null", None),
        ("true", True),
        ("false", False),
        ("0", 0),
        ("0o7", 7),
        ("0x3A", 58),
        ("-19", -19),
        ("+12", 12),
        ("0.", 0.0),
        ("-0.0", -0.0),
        (".5", 0.5),
        ("+12e03", 12000.0),
        ("-2E+05", -200000.0),
        ("18446744073709551615", 2**64 - 1),
        # texts
        ("0.33.0", "0.33.0"),
        ("2026-11-23", "2026-11-23"),
        ("2026-11-23T10:00:00Z", "2026-11-23T10:00:00Z"),
        ("8k", "8k"),
        ("-a", "-a"),
        ("+x", "+x"),
        (".", "."),
        ("1.2.3", "1.2.3"),
        ("127.0.0.1:8000", "127.0.0.1:8000"),
        ("'no'", "no"),
        ('"010"', "010"),
        ('"1:30"', "1:30"),
        ('"\\u6a21\\n"', "模\n"),
        ("a # comment", "a"),
        ("a#b", "a#b"),
        ("|\n    two\n    lines", "two\nlines\n"),
        (">-\n    two\n    lines", "two lines"),
    ],
)
def test_values(text: str, value: Json) -> None:
    read = value_of(text)
    assert read == value
    assert type(read) is type(value)


def test_anchors_share_a_value() -> None:
    assert value_of("{a: &a [1, {b: 2}], c: *a, d: [*a]}") == {
        "a": [1, {"b": 2}],
        "c": [1, {"b": 2}],
        "d": [[1, {"b": 2}]],
    }


def test_an_anchor_may_stand_at_a_key() -> None:
    assert value_of("{&a b: 1, c: *a}") == {"b": 1, "c": "b"}


def test_aliases_may_expand_to_a_thousand_values() -> None:
    composer = Composer(Source("r.yaml", "a: &a [" + "1," * 99 + "]\nb: [" + "*a," * 10 + "]\n"))
    node = composer.compose()
    assert node is not None
    assert composer.findings == []


def test_no_more_than_ten_thousand_keys_and_values() -> None:
    def refusal(entries: int) -> str:
        with pytest.raises(RecipeError) as caught:
            parse(f"x: [{'1,' * entries}]\n".encode(), "r.yaml")
        return caught.value.message

    assert "unknown key 'x'" in refusal(9_997)
    assert refusal(9_998).startswith("r.yaml:1:19999: more than 10,000 keys and values\n")


def test_an_alias_stands_where_it_is_written() -> None:
    composer = Composer(Source("r.yaml", "a: &a 1\nb: *a\n"))
    node = composer.compose()
    assert isinstance(node, MappingNode)
    assert [entry.value.span.line for entry in node.entries.values()] == [1, 2]
