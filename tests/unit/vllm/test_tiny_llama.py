"""The quickstart's model: made again byte for byte, small, and real to the libraries that read one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors import safe_open
from tokenizers import Tokenizer

from parts.tiny_llama import SPECIAL, VOCABULARY, tiny_llama, write_tiny_llama

_CHECKED_IN = Path(__file__).parents[3] / "recipes" / "quickstart-model"


def test_regenerating_gives_the_bytes_that_are_checked_in() -> None:
    made = tiny_llama()
    assert {path.name: path.read_bytes() for path in _CHECKED_IN.iterdir()} == made
    assert sum(map(len, made.values())) < 500_000


def test_another_seed_gives_other_weights_of_the_same_shape(tmp_path: Path) -> None:
    write_tiny_llama(tmp_path, seed=1)
    different = {p.name for p in tmp_path.iterdir() if p.read_bytes() != (_CHECKED_IN / p.name).read_bytes()}
    assert different == {"model.safetensors"}


def test_the_weights_are_those_that_the_configuration_speaks_of() -> None:
    config = json.loads((_CHECKED_IN / "config.json").read_bytes())
    with safe_open(_CHECKED_IN / "model.safetensors", "np") as file:
        slices = {name: file.get_slice(name) for name in set(file.keys())}
        shapes = {name: (part.get_shape(), part.get_dtype()) for name, part in slices.items()}
        assert file.metadata() == {"format": "pt"}
    assert len(shapes) == 2 + 9 * config["num_hidden_layers"]
    assert shapes["model.embed_tokens.weight"] == ([config["vocab_size"], config["hidden_size"]], "BF16")
    assert shapes["model.layers.1.mlp.down_proj.weight"] == (
        [config["hidden_size"], config["intermediate_size"]],
        "BF16",
    )


@pytest.mark.parametrize(
    "text",
    ["Hello, world!", "résumé 日本 🙂\n\n  tabs\t", "2026 tokens", "<|im_start|>user\nhi<|im_end|>", ""],
)
def test_the_tokenizer_gives_every_text_back(text: str) -> None:
    tokenizer = Tokenizer.from_file(str(_CHECKED_IN / "tokenizer.json"))
    assert tokenizer.get_vocab_size() == VOCABULARY
    numbers = tokenizer.encode(text).ids
    assert tokenizer.decode(numbers, skip_special_tokens=False) == text
    assert all(number < VOCABULARY for number in numbers)


def test_the_tokenizer_has_learnt_words_and_knows_the_special_ones() -> None:
    tokenizer = Tokenizer.from_file(str(_CHECKED_IN / "tokenizer.json"))
    assert tokenizer.encode("The capital of the image").tokens == ["The", "Ġcapital", "Ġof", "Ġthe", "Ġimage"]
    assert tokenizer.encode("2026").tokens == list("2026")
    assert [tokenizer.token_to_id(text) for text in SPECIAL] == [0, 1, 2]
