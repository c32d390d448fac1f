"""Carets: later findings located in the file, wide characters, tabs, long lines, secrets."""

from __future__ import annotations

import pytest

from enginebuild.errors import Problem
from enginebuild.recipe import parse, render_problems
from enginebuild.recipe.show import excerpt, masked, printable, quoted
from enginebuild.recipe.text import Source

RECIPE = parse(
    b"""\
version: 1
name: tiny
model: hf://org/tiny
engine:
  type: vllm
  version: 0.33.0
  args:
    max_model_len: 8192
    api_key: sk-0123456789abcdefghij
    lora_modules: [{name: a}, {name: b}]
image: {base: scratch}
""",
    "r.yaml",
)


def located(*path: str | int, on_key: bool = False) -> list[str]:
    return RECIPE.located([Problem(path, "wrong", on_key=on_key)]).message.splitlines()


def test_caret_under_a_value() -> None:
    assert located("engine", "args", "max_model_len") == [
        "r.yaml:8:20: wrong",
        "      max_model_len: 8192",
        "                     ^",
    ]


def test_caret_under_a_key() -> None:
    assert located("engine", "args", "max_model_len", on_key=True) == [
        "r.yaml:8:5: wrong",
        "      max_model_len: 8192",
        "      ^",
    ]


def test_caret_under_an_entry_of_a_list() -> None:
    assert located("engine", "args", "lora_modules", 1, "name") == [
        "r.yaml:10:38: wrong",
        "      lora_modules: [{name: a}, {name: b}]",
        "                                       ^",
    ]


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (("engine", "args", "seed"), "r.yaml:7:3"),
        (("engine", "args", "lora_modules", 7), "r.yaml:10:5"),
        (("engine", "args", "max_model_len", "x"), "r.yaml:8:5"),
        (("gpu",), "r.yaml:1:1"),
        ((), "r.yaml:1:1"),
    ],
)
def test_what_was_not_written_is_located_at_the_last_key_on_the_way(
    path: tuple[str | int, ...], place: str
) -> None:
    assert located(*path)[0] == f"{place}: wrong"


def test_a_secret_on_the_line_is_not_shown() -> None:
    assert located("engine", "args", "api_key", on_key=True) == [
        "r.yaml:9:5: wrong",
        "      api_key: ***********************",
        "      ^",
    ]


def test_several_problems_with_hints() -> None:
    problems = [
        Problem(("image", "base"), "second", "mend it"),
        Problem(("name",), "first"),
        Problem(("name",), "first"),
    ]
    assert render_problems(problems, RECIPE.root) == (
        "r.yaml:2:7: first\n  name: tiny\n        ^\n\n"
        "r.yaml:11:15: second\n  image: {base: scratch}\n                ^\n  hint: mend it\n\n"
        "2 mistakes"
    )


@pytest.mark.parametrize(
    ("line", "column", "caret"),
    [
        ("abc", 0, "^"),
        ("abc", 3, "   ^"),
        ("\ta\tb", 3, "\t \t^"),
        ("模型: x", 4, "      ^"),
        ("e\u0301: x", 4, "   ^"),
        ("ｆｕｌｌ: x", 6, "          ^"),
    ],
)
def test_caret_line_takes_the_room_of_what_is_above(line: str, column: int, caret: str) -> None:
    assert excerpt(line, column) == (line, caret)


def test_long_line_is_cut_around_the_caret() -> None:
    line = "a" * 500 + "X" + "b" * 500
    text, caret = excerpt(line, 500)
    assert len(text) <= 112
    assert text[caret.index("^")] == "X"
    assert text.startswith("…")
    assert text.endswith("…")


def test_what_moves_the_cursor_is_replaced() -> None:
    assert printable("a\x1b[31m\u202eb\tc") == "a\N{REPLACEMENT CHARACTER}[31m\N{REPLACEMENT CHARACTER}b\tc"
    assert quoted("a\x1b\n\u202e") == r"'a\x1b\n\u202e'"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("auth: hf_abcdefghijklmnop", "auth: *******************"),
        ("x: https://me:secret@host/x", "x: https://*********@host/x"),
        ("x: me:secret@host/x", "x: me:******@host/x"),
        ("password: letmein now", "password: ***********"),
        ('"client_secret": "x"}', '"client_secret": ****'),
        ("api-key=abc", "api-key=***"),
        ("x: ghp_0123456789abcdef0123", "x: ************************"),
    ],
)
def test_secrets_are_starred_out(text: str, shown: str) -> None:
    assert masked(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "hf_overrides: {a: 1}",
        "max_num_batched_tokens: 8192",
        "auth: HF_TOKEN",
        "model: hf://org/name@main",
        "base: docker.io/vllm/vllm-openai:v0.33.0@sha256:00",
        "tokenizer: file",
    ],
)
def test_what_is_no_secret_is_shown(text: str) -> None:
    assert masked(text) == text


def test_positions_in_a_text() -> None:
    source = Source("r.yaml", "a\r\nb\rc\nd")
    assert [source.position(index) for index in (0, 1, 3, 5, 7, 8)] == [
        (0, 0),
        (0, 1),
        (1, 0),
        (2, 0),
        (3, 0),
        (3, 1),
    ]
    assert [source.line(number) for number in range(4)] == ["a", "b", "c", "d"]
