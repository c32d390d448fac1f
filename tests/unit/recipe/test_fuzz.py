"""Whatever the bytes: a recipe or a RecipeError whose text is whole, printable and free of secrets."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from enginebuild.errors import RecipeError
from enginebuild.recipe import Recipe, parse
from enginebuild.recipe.compose import Composer, UnreadableError
from enginebuild.recipe.node import MappingNode
from enginebuild.recipe.overrides import apply, read_overrides
from enginebuild.recipe.text import Finding, Source

SOUND = """\
version: 1
name: tiny
model:
  source: hf://org/tiny@main
  auth: HF_TOKEN
  allow_patterns: ["*.safetensors"]
dtype: auto
gpu: L4
engine:
  type: vllm
  version: 0.33.0
  args: {max_model_len: 8192, hf_overrides: &a {x: [1, 2.5, true]}, other: *a}
image:
  base: docker.io/vllm/vllm-openai:v0.33.0
  tags: ["{key}", latest]
  labels: {a: b}
"""
SOUND_TENSORRT_LLM = """\
version: 1
name: tiny
model: hf://org/tiny
quantization:
  method: w4a16_awq
  tool: quantize.py
  kv_cache_dtype: int8
  group_size: 64
  calibration: {dataset: "hf://datasets/org/texts@v1", num_samples: 8}
gpu: L4
engine:
  type: tensorrt_llm
  version: 1.2.1
  mode: engine
  build: {gemm_plugin: auto}
  runtime: {max_batch_size: 8}
image: {base: "nvcr.io/nvidia/tensorrt-llm/release:1.2.1"}
builder: {gpus: ["0"], timeout: 4h, memory: 16GB}
"""
#: One cell, for what is read here is one recipe.
SOUND_MATRIX = """\
version: 1
name: tiny
matrix:
  engine.type: [vllm, tensorrt_llm]
  size: [small]
  exclude:
    - {engine.type: tensorrt_llm}
  include:
    - {size: small, gpu: L4, quantization: {method: none}}
variants:
  - when: {engine.type: vllm, size: [small, large]}
    engine: {version: 0.33.0, args: {max_model_len: 64}}
  - when: {dtype: [auto, float16]}
    image: {base: scratch}
model: hf://org/tiny
dtype: auto
"""
SOUNDS = (SOUND, SOUND_TENSORRT_LLM, SOUND_MATRIX)
SECRET = "hf_Zyxwvutsrqponmlkjihgfedcba"
CHARACTERS = "\n\t :-?,[]{}#&*!|>'\"%@`~.0123456789abc\\\r\ufeff\u2028\x85\xa0é模"
WORDS = """
  null no 0o 1e999 << --- ... !!int %YAML version engine
"""
PIECES = st.sampled_from(
    [*CHARACTERS, *WORDS.split(), "  ", "\n  ", "- ", ": ", '"\\', "\\u", "\nimage: ", SECRET]
)

bounded = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def refused_or_read(content: bytes) -> Recipe | str:
    try:
        return parse(content, "r.yaml")
    except RecipeError as error:
        refusal = error
    if "cells, and one is wanted here" in refusal.message:
        return refusal.message
    shown = refusal.message + refusal.hint
    assert refusal.message.startswith("r.yaml")
    assert all(char.isprintable() or char in "\n\t" for char in shown)
    assert SECRET.lower() not in shown.lower()
    _check_places(refusal.message, content)
    return refusal.message


def _check_places(message: str, content: bytes) -> None:
    """Every place that is named exists, or is the end of a line."""
    text = content.removeprefix(b"\xef\xbb\xbf").decode(errors="replace")
    lines = re.split(r"\r\n|\n|\r", text)
    for match in re.finditer(r"^r\.yaml:(\d+):(\d+): ", message, re.MULTILINE):
        assert 1 <= int(match[2]) <= len(lines[int(match[1]) - 1]) + 1


@bounded
@given(st.binary(max_size=400))
def test_bytes(content: bytes) -> None:
    refused_or_read(content)


@bounded
@given(st.lists(PIECES, max_size=60).map("".join))
@example("? ")
@example("- - - -\n")
@example("'")
@example("%YAML 9" + "9" * 5000 + ".1\n---\n")
@example("a: !<tag:x,%ff> b\n")
@example('"\\UFFFFFFFF"')
def test_pieces_of_yaml(text: str) -> None:
    refused_or_read(text.encode())


@bounded
@given(
    st.sampled_from(SOUNDS),
    st.integers(0, len(SOUND_TENSORRT_LLM)),
    st.integers(0, 30),
    st.lists(PIECES, max_size=6).map("".join),
)
def test_sound_recipe_with_a_piece_replaced(sound: str, begin: int, length: int, text: str) -> None:
    refused_or_read((sound[:begin] + text + sound[begin + length :]).encode())


@bounded
@given(st.sampled_from(SOUNDS), st.integers(0, len(SOUND_TENSORRT_LLM)), st.binary(max_size=4))
def test_sound_recipe_with_bytes_put_in(sound: str, place: int, inserted: bytes) -> None:
    content = sound.encode()
    refused_or_read(content[:place] + inserted + content[place:])


@bounded
@given(st.lists(PIECES | st.sampled_from(["=", "image.", "base", "args."]), max_size=20).map("".join))
def test_overrides(text: str) -> None:
    findings: list[Finding] = []
    root = Composer(Source("r.yaml", SOUND)).compose()
    assert isinstance(root, MappingNode)
    try:
        overrides = read_overrides([text, f"image.base={text}", f"{text}=1"], findings)
        changed = apply(root, overrides, findings)
    except UnreadableError as error:
        raise AssertionError("an override's own mistake is a finding") from error
    assert isinstance(changed, MappingNode)


@pytest.mark.parametrize("sound", SOUNDS)
def test_the_sound_recipe_is_sound(sound: str) -> None:
    assert isinstance(refused_or_read(sound.encode()), Recipe)


@pytest.mark.parametrize(
    "piece",
    ["[", "- ", "{a: ", "a: &a [*a,", "? ", "a:\n ", "'", "&a ", "!", "%", "|\n", "k: 1\n", "- a\n", "#"],
)
def test_a_megabyte_is_refused_in_bounded_time(piece: str) -> None:
    begin = time.process_time()
    assert isinstance(refused_or_read((piece * (1_000_000 // len(piece))).encode()), str)
    assert time.process_time() - begin < 5
