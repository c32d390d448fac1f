"""skopeo, which knows nothing of this project, reads the layouts that we write, and copies them unchanged."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from enginebuild_images.base import Base
from enginebuild_images.image import Image
from enginebuild_images.layout import read_layout, write_layout
from parts.busybox_base import BusyboxBase
from parts.image_files import small_image


def _run(skopeo: Path, *argv: str) -> str:
    ended = subprocess.run([skopeo, *argv], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def _inspect(skopeo: Path, location: str) -> Any:
    return json.loads(_run(skopeo, "inspect", location))


def _copy(skopeo: Path, source: Path, target: Path) -> None:
    # without this option skopeo gzips plain layers on their way into a layout, which changes their digests
    plain = "--dest-oci-accept-uncompressed-layers"
    _run(skopeo, "copy", "--insecure-policy", plain, f"oci:{source}:v1", f"oci:{target}:v1")


def _on(base_layout: BusyboxBase) -> Image:
    return small_image(Base.of_image(read_layout(str(base_layout.layout)), "busybox"))


def test_skopeo_inspects_what_was_written(skopeo: Path, base_layout: BusyboxBase, tmp_path: Path) -> None:
    image = _on(base_layout)
    write_layout(image, tmp_path / "layout", ["v1"])
    found = _inspect(skopeo, f"oci:{tmp_path}/layout:v1")
    assert found["Digest"] == str(image.digest)
    assert found["Labels"] == {"base": "busybox-base", "label": "a"}
    assert found["Layers"] == [str(layer.descriptor.digest) for layer in image.layers]
    assert found["Env"] == ["PATH=/bin", "HF_HUB_OFFLINE=1"]
    assert (found["Os"], found["Architecture"], found["Created"]) == (
        "linux",
        "amd64",
        "1970-01-01T00:00:00Z",
    )


def test_a_copy_by_skopeo_has_the_same_digest_and_is_read_back(
    skopeo: Path, base_layout: BusyboxBase, tmp_path: Path
) -> None:
    image = _on(base_layout)
    write_layout(image, tmp_path / "layout", ["v1"])
    _copy(skopeo, tmp_path / "layout", tmp_path / "copy")
    copied = read_layout(f"{tmp_path}/copy:v1")
    assert copied.digest == image.digest
    for layer in copied.layers:
        assert sum(map(len, layer.chunks())) == layer.descriptor.size


def test_an_image_is_added_to_a_layout_that_skopeo_wrote(
    skopeo: Path, base_layout: BusyboxBase, tmp_path: Path
) -> None:
    first, second = _on(base_layout), small_image(label="b")
    write_layout(first, tmp_path / "layout", ["v1"])
    _copy(skopeo, tmp_path / "layout", tmp_path / "copy")
    write_layout(second, tmp_path / "copy", ["v2"])
    for tag, image in (("v1", first), ("v2", second)):
        assert _inspect(skopeo, f"oci:{tmp_path}/copy:{tag}")["Digest"] == str(image.digest)
