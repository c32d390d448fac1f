"""What of vLLM's answer keeps a recipe's word, and what contradicts it."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

import pytest

from enginebuild.engines.vllm.scripts.compare import agrees, contradicts, plain


class Level(enum.IntEnum):
    TWO = 2


class Backend(enum.Enum):
    FLASH = object()


class Dtype:
    """Looks as torch's types do."""

    def __str__(self) -> str:
        return "torch.bfloat16"


@dataclass
class Config:
    level: Level
    names: tuple[str, ...]
    _hidden: int = 3


def test_objects_become_plain() -> None:
    assert plain(Config(Level.TWO, ("a",))) == {"level": 2, "names": ["a"]}
    assert plain({1: {"b", "a"}, "x": Backend.FLASH}) == {"1": ["a", "b"], "x": "FLASH"}
    assert plain([Dtype(), None, True, 0.5]) == ["bfloat16", None, True, 0.5]
    assert plain(Config) == str(Config)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (None, 3),
        ("auto", "bfloat16"),
        (-1, 7),
        (False, False),
        (2, "2"),
        (2, 2.0),
        ("a", ["a"]),
        (["a", "b"], "a"),
        (["a", "b"], ["a", "b"]),
        ({"a": None}, {"a": None, "b": 1}),
        ({"a": {"b": "auto"}}, {"a": {"b": 1}}),
        ({"a": [1, None]}, {"a": [1, None]}),
    ],
)
def test_what_keeps_a_word(asked: Any, found: Any) -> None:
    assert agrees(asked, found)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (False, True),
        (False, None),
        (False, 0),
        (1, True),
        (256, 2048),
        ("a", "b"),
        ("a", ["b"]),
        ("a", ["a", "b"]),
        (["a"], "b"),
        ([], "b"),
        (["a"], ["a", "b"]),
        ({"a": 1}, {"b": 1}),
        ({"a": 1}, None),
        ({"a": {"b": 1}}, {"a": {"b": 2}}),
    ],
)
def test_what_does_not(asked: Any, found: Any) -> None:
    assert not agrees(asked, found)


@pytest.mark.parametrize(
    ("name", "asked", "effective", "expected"),
    [
        ("enable_prefix_caching", False, True, True),
        ("enable_prefix_caching", False, False, False),
        ("max_model_len", 256, 128, True),
        ("max_model_len", "auto", 128, False),
        ("dtype", "float16", "bfloat16", True),
        ("kv_cache_dtype", "fp8", "fp8_e4m3", False),
        ("compilation_config", {"mode": 3}, {"mode": 2}, False),
        ("async_scheduling", True, False, True),
    ],
)
def test_switches_and_numbers_count(name: str, asked: Any, effective: Any, expected: bool) -> None:
    assert contradicts(name, asked, effective, stands_in=False) is expected


def test_the_cpu_says_nothing_of_what_it_decides_for_itself() -> None:
    assert not contradicts("async_scheduling", True, False, stands_in=True)
    assert contradicts("enable_prefix_caching", False, True, stands_in=True)
