"""Which files of a repository are taken: the rules of enginebuild.sources.selection, on real listings."""

from __future__ import annotations

from pathlib import Path

import pytest

from enginebuild.sources.model import ModelRequest
from enginebuild.sources.selection import is_pickle, select, skipped_pickles

LLAMA = [
    ".gitattributes",
    "LICENSE",
    "README.md",
    "USE_POLICY.md",
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
    "model.safetensors.index.json",
    "original/consolidated.00.pth",
    "original/params.json",
    "original/tokenizer.model",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
]


def request(
    allow: tuple[str, ...] = (), ignore: tuple[str, ...] = (), allow_pickle: bool = False
) -> ModelRequest:
    return ModelRequest("hf://org/name", None, Path(), allow, ignore, allow_pickle)


def test_a_llama_repository_without_its_copies() -> None:
    assert select(LLAMA, request()) == [
        "LICENSE",
        "USE_POLICY.md",
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]


def test_the_mistral_copy_is_left_out_where_the_hugging_face_layout_is_there() -> None:
    both = ["config.json", "consolidated.safetensors", "model.safetensors", "params.json", "tekken.json"]
    assert select(both, request()) == ["config.json", "model.safetensors", "tekken.json"]


def test_the_mistral_layout_alone_is_taken() -> None:
    alone = ["consolidated.safetensors", "params.json", "tekken.json"]
    assert select(alone, request()) == alone


@pytest.mark.parametrize(
    "path",
    [
        "pytorch_model.bin",
        "pytorch_model.bin.index.json",
        "model.gguf",
        "onnx/model.onnx",
        "onnx/config.json",
        "flax_model.msgpack",
        "tf_model.h5",
        "training_args.bin",
        "trainer_state.json",
        "runs/events.out.tfevents",
        "metal/model.bin",
        "original/model.safetensors",
        ".cache/config.json",
        "images/logo.png",
    ],
)
def test_what_no_server_needs_is_not_taken(path: str) -> None:
    assert select(["config.json", "model.safetensors", path], request()) == [
        "config.json",
        "model.safetensors",
    ]


@pytest.mark.parametrize(
    "path",
    [
        "tokenizer.model",
        "qwen.tiktoken",
        "merges.txt",
        "vocab.txt",
        "modeling_custom.py",
        "preprocessor_config.json",
        "NOTICE",
        "1_Pooling/config.json",
        "2_Dense/model.safetensors",
        "additional_chat_templates/tool_use.jinja",
    ],
)
def test_what_a_server_may_need_is_taken(path: str) -> None:
    assert path in select(["config.json", "model.safetensors", path], request())


def test_allow_patterns_replace_the_default() -> None:
    chosen = select(LLAMA, request(allow=("original/", "*.json")))
    assert "original/tokenizer.model" in chosen
    assert "original/params.json" in chosen
    assert "tokenizer.json" in chosen
    assert "model-00001-of-00002.safetensors" not in chosen


def test_no_pattern_brings_pickles_in_without_allow_pickle() -> None:
    assert "original/consolidated.00.pth" not in select(LLAMA, request(allow=("*",)))
    assert "original/consolidated.00.pth" in select(LLAMA, request(allow=("*",), allow_pickle=True))


def test_ignore_patterns_take_away_last() -> None:
    chosen = select(LLAMA, request(allow=("*.json",), ignore=("tokenizer*",)))
    assert "config.json" in chosen
    assert "tokenizer.json" not in chosen


def test_allow_pickle_takes_pickles_only_where_nothing_better_is() -> None:
    old = ["config.json", "pytorch_model.bin", "pytorch_model.bin.index.json", "model.gguf"]
    assert select(old, request(allow_pickle=True)) == old[:3]
    assert select([*old, "model.safetensors"], request(allow_pickle=True)) == [
        "config.json",
        "model.safetensors",
    ]


def test_pickles_are_known_by_their_suffix() -> None:
    assert is_pickle("a/PYTORCH_MODEL.BIN")
    assert not is_pickle("model.safetensors")
    assert skipped_pickles(["b.pt", "a.bin", "sub/c.bin", "x.json"]) == ["a.bin", "b.pt"]
