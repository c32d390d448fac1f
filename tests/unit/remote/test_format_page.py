"""docs/cache-format.md says what is written: its examples have real records' fields, its limits are ours."""

from __future__ import annotations

import json
import re
from typing import Any

from enginebuild.remote.cache import DOCUMENT_LIMIT
from enginebuild.remote.packed import KEY, RECORD_TYPE, ROOTS, STEP, Packed, tag_of
from enginebuild_cache import Digest, File, Tree
from enginebuild_images.artifact import artifact
from enginebuild_images.blob import LAYER, BytesBlob
from enginebuild_images.policy import LARGE
from parts.cache_samples import record
from parts.recipes import ROOT

PAGE = (ROOT / "docs/cache-format.md").read_text("utf-8")


def _examples() -> list[dict[str, Any]]:
    return [json.loads(text) for text in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)]


def _shape(value: object) -> object:
    """Keys and kinds of a value, without what differs from record to record."""
    if isinstance(value, dict):
        return {key: _shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_shape(inner) for inner in value[:1]]
    return type(value).__name__


def test_the_manifest() -> None:
    shown, _ = _examples()
    blobs = [BytesBlob(RECORD_TYPE, b"document"), BytesBlob(LAYER, b"layer")]
    made = json.loads(artifact(RECORD_TYPE, blobs, {KEY: "sha256:0", STEP: "fetch"}).manifest.content)
    assert _shape(shown) == _shape(made)
    for name in ("schemaVersion", "mediaType", "artifactType"):
        assert shown[name] == made[name]
    assert [layer["mediaType"] for layer in shown["layers"]] == [
        layer["mediaType"] for layer in made["layers"]
    ]


def test_the_document() -> None:
    _, shown = _examples()
    tree = Tree.of([File("config.json", Digest.of(b""), 0)])
    made = json.loads(Packed.of(record(tree)).to_bytes())
    assert set(shown) == set(made)
    assert set(shown["record"]) == set(made["record"])
    for part in (("layers",), ("record", "tree")):
        here, there = shown, made
        for name in part:
            here, there = here[name], there[name]
        assert _shape(here) == _shape(there)
    assert shown["version"] == made["version"]
    assert shown["layers"]["format"] == made["layers"]["format"]


def test_names_and_limits() -> None:
    assert tag_of("fetch", Digest("fce217a3f173e27e867091812b4b34f6d7d606d72b2a46b2db04e5d43b477156")) in PAGE
    for step, root in ROOTS.items():
        assert f"`{root}` for" in PAGE, step
    assert f"at most {DOCUMENT_LIMIT >> 20} MiB" in PAGE
    assert f"a file of {LARGE >> 20} MiB or more" in PAGE
