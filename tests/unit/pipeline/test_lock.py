"""The lock as a file: canonical, byte-identical, refused when it is not one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from enginebuild import __version__
from enginebuild.errors import Exit, RecipeError
from enginebuild.lock import BaseLock, Lock, ModelLock, drift
from enginebuild.lock_file import LockFile, lock_path, read_lock_file, write_lock_file
from enginebuild_cache import Digest, File, Tree

TREE = Tree.of([File("model.safetensors", Digest.of(b"w"), 1), File("config.json", Digest.of(b"{}"), 2)])
LOCK = Lock(
    ModelLock({"source": "hf://org/name", "revision": "main"}, "c" * 40, TREE),
    BaseLock("docker.io/vllm/vllm-openai:v0.33.0", "linux/amd64", Digest.of(b"base")),
    {"vllm": "0.33.0"},
)

EMPTY = Digest.of(b"{}").hex
TEXT = f"""{{
  "base": {{
    "digest": "{Digest.of(b"base")}",
    "platform": "linux/amd64",
    "reference": "docker.io/vllm/vllm-openai:v0.33.0"
  }},
  "model": {{
    "commit": "cccccccccccccccccccccccccccccccccccccccc",
    "files": [
      {{
        "path": "config.json",
        "sha256": "{EMPTY}",
        "size": 2
      }},
      {{
        "path": "model.safetensors",
        "sha256": "{Digest.of(b"w").hex}",
        "size": 1
      }}
    ],
    "revision": "main",
    "source": "hf://org/name"
  }},
  "tools": {{
    "enginebuild": "{__version__}",
    "vllm": "0.33.0"
  }},
  "version": 1
}}
"""


def test_the_lock_lies_beside_the_recipe() -> None:
    assert lock_path(Path("recipes/llama.yaml")) == Path("recipes/llama.lock")


def test_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "recipe.lock"
    assert write_lock_file(path, LockFile.of([LOCK])) is True
    assert path.read_text() == TEXT
    assert path.stat().st_mode & 0o777 == 0o644
    assert read_lock_file(path) == LockFile.of([LOCK])


def test_writing_it_again_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "recipe.lock"
    write_lock_file(path, LockFile.of([LOCK]))
    before = path.stat()
    assert write_lock_file(path, LockFile.of([LOCK])) is False
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert [entry.name for entry in tmp_path.iterdir()] == ["recipe.lock"]


def test_no_lock(tmp_path: Path) -> None:
    assert read_lock_file(tmp_path / "recipe.lock") is None


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        ("", "Expecting value: line 1 column 1 (char 0)"),
        ("[]", "list indices must be integers or slices, not str"),
        ('{"version": 2}', "its version is 2, this enginebuild reads 1"),
        ('{"version": 1}', "'model' is missing"),
        (TEXT.replace('"size": 1', '"size": "1"'), "not a size in bytes: '1'"),
        (TEXT.replace("config.json", "../config.json"), "not a plain relative path: '../config.json'"),
        (
            TEXT.replace(EMPTY, "Z" * 64),
            f"not a sha256 in lower-case hex: '{'Z' * 64}'",
        ),
    ],
)
def test_what_is_no_lock_is_refused(tmp_path: Path, content: str, detail: str) -> None:
    path = tmp_path / "recipe.lock"
    path.write_text(content)
    with pytest.raises(RecipeError) as caught:
        read_lock_file(path)
    assert caught.value.message == f"{path}: not a lock: {detail}"
    assert caught.value.hint == "restore it from version control, or delete it and run `enginebuild lock`"
    assert caught.value.exit is Exit.RECIPE


def test_a_licence_is_kept_where_the_model_names_one() -> None:
    document = json.loads(TEXT)
    document["model"]["licence"] = "apache-2.0"
    lock = Lock.from_json(document)
    assert (lock.model.licence, LOCK.model.licence) == ("apache-2.0", None)
    assert lock.model.asked == LOCK.model.asked
    assert lock.to_json() == document
    assert [str(change) for change in drift(LOCK, lock)] == ["model.licence: (absent) → apache-2.0"]


def test_drift_names_the_fields() -> None:
    document = LOCK.to_json()
    assert isinstance(document["model"], dict)
    document["model"]["commit"] = "d" * 40
    document["tools"] = {"vllm": "0.32.0", "enginebuild": "9.9"}
    now = Lock.from_json(json.loads(json.dumps(document)))
    assert [str(change) for change in drift(LOCK, now)] == [
        f"model.commit: {'c' * 40} → {'d' * 40}",
        "tools.vllm: 0.33.0 → 0.32.0",
    ]


def test_another_enginebuild_is_no_drift() -> None:
    assert drift(LOCK, LOCK) == ()
    assert "enginebuild" not in Lock.from_json(LOCK.to_json()).tools
