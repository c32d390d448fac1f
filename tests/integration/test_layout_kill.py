"""kill -9 while a layout is written: what lies there stays valid, and the next write completes it."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import sys
import time
from pathlib import Path

from enginebuild_images.layout import read_layout, write_layout
from parts import image_files
from parts.image_files import small_image

#: Writes images for ever, each with a layer of 12 MB of its own, and says when it begins.
WRITER = """
import itertools, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from enginebuild_images.assemble import assemble
from enginebuild_images.base import scratch
from enginebuild_images.layout import write_layout
from enginebuild_images.settings import ImageSettings
from parts.image_files import Contents
print("ready", flush=True)
for number in itertools.count():
    blob = Contents().blob({"model/weights": bytes([number % 256]) * 12_000_000})
    write_layout(assemble(scratch(), [blob], ImageSettings()), Path(sys.argv[1]), [f"n{number}"])
"""

MOMENTS = 12


def _killed_after(seconds: float, folder: Path) -> None:
    parts = Path(image_files.__file__).parents[1]
    argv = [sys.executable, "-c", WRITER, str(folder), str(parts)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        time.sleep(seconds)
        assert writer.poll() is None
        writer.kill()


def _assert_valid(folder: Path) -> None:
    if not (folder / "oci-layout").exists():  # killed before there was a layout at all
        assert not (folder / "blobs/sha256").exists() or not any((folder / "blobs/sha256").glob("[0-9a-f]*"))
        return
    for path in (folder / "blobs/sha256").glob("[0-9a-f]*"):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
    for entry in json.loads((folder / "index.json").read_bytes())["manifests"]:
        read_layout(f"{folder}@{entry['digest']}")


def test_a_layout_survives_kills_at_random_moments(tmp_path: Path) -> None:
    folder = tmp_path / "layout"
    chance = random.Random()
    for _ in range(MOMENTS):
        _killed_after(chance.uniform(0, 0.35), folder)
        _assert_valid(folder)
    image = small_image()
    write_layout(image, folder, ["last"])
    assert not [*folder.rglob(".partial-*")]
    assert read_layout(f"{folder}:last").digest == image.digest
    _assert_valid(folder)
