"""Checkpoints that cannot be served are refused by name, all faults at once; whole messages are pinned."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from enginebuild.errors import SourceError
from enginebuild.sources.checkpoint import HINT_BROKEN, check
from enginebuild.sources.heads import read_first
from enginebuild_cache import Digest, File, Tree
from parts.hub_models import safetensors_bytes, write_index, write_model

HEAD = "hf://org/name is not a checkpoint that can be served:\n"
NO_MODEL = "name a model in Hugging Face format: config.json, tokenizer and *.safetensors in one folder"
PICKLE = (
    "pickled weights run code when they are loaded: convert them to safetensors, "
    "or set model.allow_pickle: true if you trust their author"
)
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 5\n"


def tree_of(folder: Path) -> Tree:
    return Tree.of(
        File(path.relative_to(folder).as_posix(), Digest.of_file(path), path.stat().st_size)
        for path in folder.rglob("*")
        if path.is_file()
    )


def checked(folder: Path, pickles: tuple[str, ...] = ()) -> None:
    check(
        "hf://org/name", tree_of(folder), lambda file, count: read_first(folder / file.path, count), pickles
    )


def refusal(folder: Path, pickles: tuple[str, ...] = ()) -> tuple[str, str]:
    with pytest.raises(SourceError) as caught:
        checked(folder, pickles)
    return caught.value.message, caught.value.hint


@pytest.mark.parametrize("shards", [1, 3])
def test_a_whole_checkpoint_passes(tmp_path: Path, shards: int) -> None:
    checked(write_model(tmp_path, shards=shards))


def test_legitimate_oddities_pass(tmp_path: Path) -> None:
    write_model(tmp_path)
    (tmp_path / "__init__.py").write_bytes(b"")
    (tmp_path / "page.jinja").write_text("<html>{{ messages }}</html>")
    (tmp_path / "tokenizer.json").write_text('{"a": "' + "x" * (5 << 20) + '"}')
    checked(tmp_path)


def replace(path: str, content: bytes | str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / path).write_bytes(content.encode() if isinstance(content, str) else content)

    return change


def remove(path: str) -> Callable[[Path], None]:
    return lambda folder: (folder / path).unlink()


FAULTS: list[tuple[str, Callable[[Path], None], str]] = [
    (
        "pointer",
        replace("model-00002-of-00003.safetensors", POINTER),
        "model-00002-of-00003.safetensors is a Git LFS pointer, not the file itself",
    ),
    (
        "pointer to a tokenizer",
        replace("tokenizer.json", POINTER),
        "tokenizer.json is a Git LFS pointer, not the file itself",
    ),
    (
        "html weights",
        replace("model-00001-of-00003.safetensors", "\n<!DOCTYPE html><html>Sign in</html>"),
        "model-00001-of-00003.safetensors is an HTML page, not the file itself",
    ),
    (
        "html config",
        replace("config.json", b"\xef\xbb\xbf<HTML>504</HTML>"),
        "config.json is an HTML page, not the file itself",
    ),
    ("empty", replace("config.json", b""), "config.json is empty"),
    (
        "empty weights",
        replace("model-00003-of-00003.safetensors", b""),
        "model-00003-of-00003.safetensors is empty",
    ),
    (
        "cut weights",
        lambda folder: replace("model-00001-of-00003.safetensors", safetensors_bytes({"a": 1000})[:600])(
            folder
        ),
        "model-00001-of-00003.safetensors is cut short: its header promises 1112 bytes, the file has 600",
    ),
    (
        "cut json",
        replace("config.json", '{"model_type": "llama'),
        "config.json is not JSON: Unterminated string starting at (line 1 column 16)",
    ),
    (
        "latin-1 json",
        replace("tokenizer_config.json", b'{"a": "\xe9"}'),
        "tokenizer_config.json is not JSON: not UTF-8",
    ),
    ("deep json", replace("config.json", "[" * 100_000), "config.json is not JSON: nested too deeply"),
    ("list as config", replace("config.json", "[]"), "config.json is not a JSON object"),
    ("large file, not JSON", replace("tokenizer.json", b"\0" * (5 << 20)), "tokenizer.json is not JSON"),
    (
        "shard missing",
        remove("model-00002-of-00003.safetensors"),
        "model-00002-of-00003.safetensors is missing: model.safetensors.index.json names it",
    ),
    (
        "tensor missing",
        lambda folder: write_index(
            folder,
            {
                "layer.0.weight": "model-00001-of-00003.safetensors",
                "layer.9.bias": "model-00001-of-00003.safetensors",
                "layer.9.weight": "model-00001-of-00003.safetensors",
            },
        ),
        (
            "model-00001-of-00003.safetensors lacks the tensor 'layer.9.bias' and 1 more, "
            "which model.safetensors.index.json says it holds"
        ),
    ),
    (
        "index without map",
        replace("model.safetensors.index.json", '{"weight_map": {}}'),
        "model.safetensors.index.json has no weight_map of tensor names to file names",
    ),
    (
        "index with numbers",
        replace("model.safetensors.index.json", '{"weight_map": {"a": 1}}'),
        "model.safetensors.index.json has no weight_map of tensor names to file names",
    ),
    (
        "index is a list",
        replace("model.safetensors.index.json", "[]"),
        "model.safetensors.index.json has no weight_map of tensor names to file names",
    ),
]


@pytest.mark.parametrize(("name", "break_it", "message"), FAULTS, ids=[fault[0] for fault in FAULTS])
def test_faults(tmp_path: Path, name: str, break_it: Callable[[Path], None], message: str) -> None:
    break_it(write_model(tmp_path, shards=3))
    assert refusal(tmp_path) == (f"{HEAD}  {message}", HINT_BROKEN)


def test_all_faults_at_once(tmp_path: Path) -> None:
    write_model(tmp_path, shards=3)
    (tmp_path / "model-00001-of-00003.safetensors").unlink()
    (tmp_path / "model-00002-of-00003.safetensors").write_text(POINTER)
    (tmp_path / "tokenizer.json").write_text("<html>")
    (tmp_path / "config.json").unlink()
    assert refusal(tmp_path) == (
        (
            f"{HEAD}"
            "  model-00002-of-00003.safetensors is a Git LFS pointer, not the file itself\n"
            "  tokenizer.json is an HTML page, not the file itself\n"
            "  model-00001-of-00003.safetensors is missing: model.safetensors.index.json names it\n"
            "  config.json is missing"
        ),
        HINT_BROKEN,
    )


def test_many_faults_are_counted(tmp_path: Path) -> None:
    write_model(tmp_path, shards=60)
    for path in tmp_path.glob("*.safetensors"):
        path.write_text(POINTER)
    message, _ = refusal(tmp_path)
    lines = message.splitlines()
    assert len(lines) == 22
    assert lines[-1] == "  … and 40 more"


def test_shards_without_an_index_are_counted_by_their_names(tmp_path: Path) -> None:
    write_model(tmp_path, shards=3)
    (tmp_path / "model.safetensors.index.json").unlink()
    (tmp_path / "model-00003-of-00003.safetensors").unlink()
    assert refusal(tmp_path) == (
        f"{HEAD}  model-00003-of-00003.safetensors is missing: other shards name it as one of 3",
        HINT_BROKEN,
    )


def test_no_weights(tmp_path: Path) -> None:
    write_model(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    assert refusal(tmp_path) == (f"{HEAD}  there are no weights (*.safetensors)", NO_MODEL)
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    assert refusal(tmp_path) == (f"{HEAD}  its only weights are GGUF", NO_MODEL)


def test_pickles_only(tmp_path: Path) -> None:
    write_model(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    assert refusal(tmp_path, ("a.bin", "b.bin")) == (
        f"{HEAD}  its only weights are pickles: a.bin, b.bin",
        PICKLE,
    )
    five = tuple(f"{letter}.bin" for letter in "abcde")
    assert (
        refusal(tmp_path, five)[0] == f"{HEAD}  its only weights are pickles: a.bin, b.bin, c.bin and 2 more"
    )


def test_allowed_pickles_are_weights(tmp_path: Path) -> None:
    write_model(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    checked(tmp_path)


def test_an_adapter_is_not_a_model(tmp_path: Path) -> None:
    (tmp_path / "adapter_model.safetensors").write_bytes(safetensors_bytes({"lora": 8}))
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "x"}))
    assert refusal(tmp_path) == (
        f"{HEAD}  config.json is missing (this is a LoRA adapter, not a whole model)",
        NO_MODEL,
    )


def test_files_that_are_not_here_yet_are_judged_by_name(tmp_path: Path) -> None:
    write_model(tmp_path, shards=3)
    (tmp_path / "model-00001-of-00003.safetensors").write_text(POINTER)

    def small_only(file: File, count: int) -> bytes | None:
        return None if file.path.endswith(".safetensors") else read_first(tmp_path / file.path, count)

    check("hf://org/name", tree_of(tmp_path), small_only)
    (tmp_path / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(SourceError) as caught:
        check("hf://org/name", tree_of(tmp_path), small_only)
    assert caught.value.message == (
        f"{HEAD}  model-00002-of-00003.safetensors is missing: model.safetensors.index.json names it"
    )
