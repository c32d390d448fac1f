"""The table of counterparts names what the engines' tables have, and leads there and back."""

from __future__ import annotations

import pytest

from enginebuild.engines.tensorrt_llm.reserved import TRITON_OPTIONS
from enginebuild.engines.tensorrt_llm.table import Key, keys, options
from enginebuild.engines.vllm.table import VERSIONS, table
from enginebuild.importing.counterparts import Pair, alone, pairs
from enginebuild.importing.hardware import hardware
from enginebuild.importing.vllm_words import former

_TRTLLM = "1.2.1"
_IDS = [".".join(pair.vllm) for pair in pairs()]


def _key(path: tuple[str, ...]) -> Key:
    known, key = keys(_TRTLLM), None
    for step in path:
        key = known[step]
        known = {name: inner for section in key.sections.values() for name, inner in section.items()}
    assert key is not None
    return key


@pytest.mark.parametrize("pair", pairs(), ids=_IDS)
def test_both_sides_exist(pair: Pair) -> None:
    argument = table(VERSIONS[-1]).arguments[pair.vllm[0]]
    assert len(pair.vllm) == 1 or pair.vllm[1] in (argument.keys or ())
    if argument.known and pair.words:
        assert set(pair.words) <= set(argument.known)
    if "pytorch" in pair.places:
        key = _key(pair.places["pytorch"][1:])
        assert not key.choices or set(pair.words.values()) <= set(key.choices)
    if "engine" in pair.places:
        command, name = pair.places["engine"]
        option = options(_TRTLLM, "build" if command == "build" else "serve")[name]
        assert not option.choices or set(pair.words.values()) <= set(option.choices)
    if "triton" in pair.places:
        assert pair.places["triton"][1] in TRITON_OPTIONS


@pytest.mark.parametrize("pair", [pair for pair in pairs() if pair.words], ids=lambda pair: pair.vllm[0])
def test_words_lead_there_and_back(pair: Pair) -> None:
    for theirs in pair.words.values():
        there = pair.forward(pair.backward(theirs))
        assert there == theirs
    assert pair.forward("no such word") is None
    assert pair.backward("no such word") is None


def test_lengths_for_people_become_numbers() -> None:
    (length,) = (pair for pair in pairs() if pair.vllm == ("max_model_len",))
    assert [length.forward(value) for value in (8192, "8k", "8K", "auto", -1)] == [
        8192,
        8000,
        8192,
        None,
        None,
    ]


def test_every_size_has_a_place_in_both_modes() -> None:
    sizes = [pair for pair in pairs() if pair.vllm[0].startswith("max_") and "lora" not in pair.vllm[0]]
    assert [set(pair.places) for pair in sizes] == [{"pytorch", "engine"}] * 3


def test_arguments_of_vllm_alone_are_arguments() -> None:
    assert set(alone()) <= set(table(VERSIONS[-1]).arguments)


@pytest.mark.parametrize("version", VERSIONS)
def test_former_arguments_are_gone(version: str) -> None:
    assert set(former()) & set(table(version).arguments) == set()


def test_hardware_by_either_name() -> None:
    assert hardware("H200") == hardware("h200") == hardware("H200-SXM-141GB")
    assert hardware("h200").keys == ("nvidia", "hopper", "h200")
    assert hardware("RTX-PRO-6000").keys == ("nvidia", "blackwell", "rtx_pro_6000")
    assert hardware("T4").keys == ("nvidia", "turing")
