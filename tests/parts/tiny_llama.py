"""A tiny Llama-architecture checkpoint with random weights, made from nothing but the standard library.

Hidden size 64, 2 layers, 2 heads of size 32 (vLLM's CPU attention takes 32 and 64, not 16), vocabulary 1024,
bfloat16, a real byte-level BPE tokenizer trained on the text below, and a chat template. A `width` of 4 makes
layers wide enough for quantization in groups of 128. The same bytes
everywhere and always: Python promises the sequence of `random.random()` for a seed, and the tokenizer is
trained here.

`python -m parts.tiny_llama FOLDER` writes it; `recipes/quickstart-model` is what it writes.
"""

from __future__ import annotations

import itertools
import json
import random
import re
import struct
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

HIDDEN, INTERMEDIATE, LAYERS, HEADS, VOCABULARY, POSITIONS = 64, 128, 2, 2, 1024, 2048
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")

_README = """\
# A tiny model for the quickstart

A checkpoint of the Llama architecture with random weights (hidden size 64, 2 layers, 2 heads, vocabulary
1024, bfloat16), a byte-level BPE tokenizer and a chat template: everything that a real one has, in a third of
a megabyte. vLLM loads and serves it; what it says is noise. `tests/parts/tiny_llama.py` makes the same bytes
again.
"""

TEXT = """\
A model is a set of numbers, and a server is a program that reads them. Between the two there are files: a
configuration that says how many layers there are and how wide each one is, a tokenizer that cuts text into
pieces, a template that turns a conversation into one long line, and the weights themselves, which are
nearly all of the bytes. An image holds all of these and the program too, so that a machine which has never
seen the model can start it. The image has layers, each layer has a digest, and two machines that agree on
the digest agree on every byte below it. Before an image is built, a recipe is read. The recipe names the
model and the revision, the precision of the numbers, the number of graphics cards that share the work, and
the engine that will serve it. What is named by a moving word, such as main or latest, is looked up once and
written down in a lock, so that the next build finds the same thing. Then a plan is made. Every step of the
plan has a key: the digest of all that decides its result, and of nothing else. If the cache has a record
for the key, the step is done already. If it has not, the step runs, and the record is made. When a question
arrives, the tokenizer turns it into tokens, the engine computes the next token, and the next one, until the
token that ends the answer appears. The first token takes the longest, because the whole question must be
read. The tokens after it are quick, for the engine keeps what it has computed. That memory is called the
cache of keys and values, and it grows with the length of the conversation. A good engine divides it into
blocks, shares the blocks that several questions have in common, and gives them back when the answers are
finished. Good tools are quiet when things go well. When they do not, they say what happened, where it
happened, and what to do.
0 1 2 3 4 5 6 7 8 9 10 16 32 64 100 128 256 512 1000 1024 2024 2025 2026 4096 8192
def add(a, b):\n    return a + b\n\nfor number in range(10):\n    print(number, add(number, 1))
The old harbour lay under thick morning fog, and only the lighthouse showed where water stopped and stone
began. A woman in a yellow coat walked along the pier with her dog, counting boats: three fishing vessels,
one ferry, a small sailing yacht with a broken mast. Gulls quarrelled above the market hall, where merchants
unpacked oranges, onions, cheese, bread and smoked herring. Somebody played the accordion badly. Later the
sun would burn through, children would jump from the wall into cold green waves, and tourists would
photograph everything, but for another hour the town belonged to itself.
Mathematics, physics, chemistry, biology, geography, history, music, painting, architecture, philosophy,
medicine, law. Monday Tuesday Wednesday Thursday Friday Saturday Sunday January February March April May
June July August September October November December spring summer autumn winter north south east west left
right above below inside outside.
Please write a short poem about autumn leaves. Summarise this article in five sentences. Translate the
following paragraph into French. Explain, step by step, why the sky looks blue during the day and red at
sunset. Which numbers are prime?
user assistant system Hello, world! What is the capital of France? The capital of France is Paris.
"""

_CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content']"
    " + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

Pair = tuple[str, str]


def write_tiny_llama(folder: Path, *, seed: int = 0, width: int = 1) -> None:
    """Write the checkpoint into a folder, made if it does not exist; about a second."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in tiny_llama(seed=seed, width=width).items():
        (folder / name).write_bytes(content)


def tiny_llama(*, seed: int = 0, width: int = 1) -> Mapping[str, bytes]:
    """The checkpoint's files by name; another seed gives other weights of the same shape.

    `width` multiplies hidden and intermediate size and the number of heads.
    """
    return {
        "README.md": _README.encode(),
        "config.json": _json(_config(width)),
        "generation_config.json": _json({"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}),
        "model.safetensors": _safetensors(_weights(random.Random(seed), width)),
        "tokenizer.json": _json(_tokenizer()),
        "tokenizer_config.json": _json(_tokenizer_config()),
    }


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()


def _config(width: int) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": HIDDEN * width,
        "intermediate_size": INTERMEDIATE * width,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS * width,
        "num_key_value_heads": HEADS * width,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": POSITIONS,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
        "torch_dtype": "bfloat16",
    }


def _shapes(width: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    hidden, intermediate = HIDDEN * width, INTERMEDIATE * width
    yield "model.embed_tokens.weight", (VOCABULARY, hidden)
    yield "model.norm.weight", (hidden,)
    for layer in range(LAYERS):
        stem = f"model.layers.{layer}"
        for name in ("input_layernorm", "post_attention_layernorm"):
            yield f"{stem}.{name}.weight", (hidden,)
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            yield f"{stem}.self_attn.{name}.weight", (hidden, hidden)
        for name in ("gate_proj", "up_proj"):
            yield f"{stem}.mlp.{name}.weight", (intermediate, hidden)
        yield f"{stem}.mlp.down_proj.weight", (hidden, intermediate)


def _weights(source: random.Random, width: int) -> dict[str, tuple[tuple[int, ...], bytes]]:
    made = {}
    for name, shape in sorted(_shapes(width)):
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        norm = len(shape) == 1
        values = [1.0 if norm else (source.random() - 0.5) / 4 for _ in range(count)]
        made[name] = (shape, _bfloat16(values))
    return made


def _bfloat16(values: list[float]) -> bytes:
    """The upper halves of the float32 forms, as bfloat16 is defined; little-endian."""
    whole = struct.pack(f"<{len(values)}f", *values)
    return b"".join(whole[at + 2 : at + 4] for at in range(0, len(whole), 4))


def _safetensors(tensors: Mapping[str, tuple[tuple[int, ...], bytes]]) -> bytes:
    """Length of the header in 8 bytes, the header padded with spaces to a multiple of 8, the tensors."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, (shape, content) in tensors.items():
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, offset + len(content)]}
        offset += len(content)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(content for _, content in tensors.values())


def _byte_letters() -> list[str]:
    """The letter that stands for each byte in a byte-level BPE vocabulary (GPT-2): itself where it can be
    seen.
    """
    seen = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    spare = itertools.count(256)
    return [chr(byte) if byte in seen else chr(next(spare)) for byte in range(256)]


def _words(text: str) -> Counter[tuple[str, ...]]:
    """Single digits, and the rest cut as the tokenizer's ByteLevel part cuts it (GPT-2's pattern)."""
    letters = _byte_letters()
    pieces = re.findall(r"'(?:[sdmt]|ll|ve|re)|\d| ?[^\W\d_]+| ?[^\s\w]+|\s+(?!\S)|\s+", text)
    return Counter(tuple(letters[byte] for byte in piece.encode()) for piece in pieces)


def _merged(word: tuple[str, ...], pair: Pair) -> tuple[str, ...]:
    out: list[str] = []
    for letter in word:
        if out and (out[-1], letter) == pair:
            out[-1] += letter
        else:
            out.append(letter)
    return tuple(out)


def _merges(words: Counter[tuple[str, ...]], count: int) -> Iterator[Pair]:
    """The pairs that byte-pair encoding joins, most frequent first, ties in the order of the alphabet.

    A pair whose joined text is in the vocabulary already is passed over, so that every merge makes a token.
    """
    made: set[str] = set()
    while len(made) < count:
        pairs: Counter[Pair] = Counter()
        for word, times in words.items():
            for pair in itertools.pairwise(word):
                pairs[pair] += times
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        if "".join(best) not in made:
            made.add("".join(best))
            yield best
        joined: Counter[tuple[str, ...]] = Counter()
        for word, times in words.items():
            joined[_merged(word, best)] += times
        words = joined


def _tokenizer() -> dict[str, Any]:
    letters = sorted(_byte_letters())
    merges = list(_merges(_words(TEXT), VOCABULARY - len(SPECIAL) - len(letters)))
    tokens = [*SPECIAL, *letters, *("".join(pair) for pair in merges)]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [_added(number, text) for number, text in enumerate(SPECIAL)],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level],
        },
        "post_processor": byte_level,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {text: number for number, text in enumerate(tokens)},
            "merges": [list(pair) for pair in merges],
        },
    }


def _added(number: int, text: str) -> dict[str, Any]:
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": number, "content": text, **plain, "special": True}


def _tokenizer_config() -> dict[str, Any]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|im_start|>",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
        "model_max_length": POSITIONS,
        "chat_template": _CHAT_TEMPLATE,
    }


if __name__ == "__main__":
    write_tiny_llama(Path(sys.argv[1]))
