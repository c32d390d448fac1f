"""Calibration data are read from folders, chosen by a seed, and refused at their file and line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from enginebuild.quantizers.calibration import CalibrationError, choose, read_samples

CHAT = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Good morning"}]


def _write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_files_count_in_the_order_of_their_paths(tmp_path: Path) -> None:
    lines = [json.dumps({"text": "first"}), "", json.dumps({"messages": CHAT, "source": "somewhere"})]
    files = {
        "b.txt": "third\nstill third\n\n\nfourth\n",
        "a/one.jsonl": "\n".join(lines),
        "README.md": "not a text to calibrate with",
        "LICENSE": "neither",
        ".cache/x.jsonl": "nor this",
    }
    assert [*read_samples(_write(tmp_path, files))] == ["first", CHAT, "third\nstill third", "fourth"]


MISTAKES = {
    "nothing": ({}, "the calibration folder has no file that ends in .jsonl, .txt or .parquet"),
    "only a page about it": (
        {"README.md": "x"},
        "the calibration folder has no file that ends in .jsonl, .txt or .parquet",
    ),
    "another kind": (
        {"train.csv": "text\n"},
        (
            "train.csv: calibration data are files that end in .jsonl, .txt or .parquet; "
            "convert it, or leave it out"
        ),
    ),
    "not JSON": ({"a.jsonl": '{"text": "x"}\n{"text": '}, "a.jsonl, line 2: not JSON"),
    "no text": (
        {"a.jsonl": '{"article": "x"}'},
        'a.jsonl, line 1: neither a "text" nor "messages" of {"role": …, "content": …} that say something',
    ),
    "an empty text": (
        {"a.jsonl": '{"text": " "}'},
        'a.jsonl, line 1: neither a "text" nor "messages" of {"role": …, "content": …} that say something',
    ),
    "a message without a role": (
        {"a.jsonl": '{"messages": [{"content": "x"}]}'},
        'a.jsonl, line 1: neither a "text" nor "messages" of {"role": …, "content": …} that say something',
    ),
    "parquet without pyarrow": (
        {"train.parquet": "PAR1"},
        "train.parquet: this environment has no pyarrow; convert it to .jsonl",
    ),
}


@pytest.mark.parametrize(("files", "message"), MISTAKES.values(), ids=MISTAKES)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, files: dict[str, str], message: str) -> None:
    with pytest.raises(CalibrationError) as raised:
        list(read_samples(_write(tmp_path, files)))
    assert str(raised.value) == message


def test_a_seed_decides_which_samples_and_their_order() -> None:
    texts = [str(number) for number in range(100)]
    chosen = choose(texts, 5, seed=1234)
    assert chosen == ["38", "2", "18", "36", "10"]
    assert choose(iter(texts), 5, seed=1234) == chosen
    assert choose(texts, 5, seed=1) != chosen
    assert sorted(map(str, choose(texts, 100, seed=7)), key=int) == texts


def test_too_few_samples_are_refused_with_what_there_is() -> None:
    with pytest.raises(CalibrationError) as raised:
        choose(["a", "b"], 512, seed=0)
    assert str(raised.value) == (
        "the calibration data have 2 samples, quantization.calibration.num_samples is 512: add samples, or "
        "set num_samples to 2"
    )
