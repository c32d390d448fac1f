"""`enginebuild verify`: what its options may be, and images that are not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from parts import cli

SHOWN = (
    "Usage: python -m enginebuild verify [OPTIONS] IMAGE\n"
    "Try 'python -m enginebuild verify --help' for help.\n\nError: "
)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--timeout", "1d"),
            "--timeout must be a whole number of seconds, minutes or hours, not '1d': write 24h",
        ),
        (
            ("--memory", "64"),
            "--memory must be a size in MB, GB, TB or MiB, GiB, TiB, not '64': write for example 16GB",
        ),
        (("--expect", "Paris"), "--expect needs a --prompt whose answer it is held against."),
    ],
)
def test_options_that_mean_nothing(words: tuple[str, ...], message: str) -> None:
    ended = cli.enginebuild("verify", "docker:x", *words)
    assert (ended.code, ended.stderr) == (2, f"{SHOWN}{message}\n")


def test_an_image_that_is_not_there(tmp_path: Path) -> None:
    ended = cli.enginebuild("verify", f"oci:{tmp_path}/none", "--cache-dir", tmp_path / "cache")
    assert (ended.code, ended.stderr) == (
        3,
        f"error: {tmp_path}/none is not a folder\nhint: name an OCI layout like ./folder:tag\n",
    )


def test_gpus_that_cannot_be(tmp_path: Path) -> None:
    from enginebuild_images.assemble import assemble
    from enginebuild_images.base import scratch
    from enginebuild_images.layout import write_layout
    from enginebuild_images.settings import ImageSettings

    write_layout(assemble(scratch(), [], ImageSettings(entrypoint=("x",))), tmp_path / "image", ["v1"])
    words = ("verify", f"oci:{tmp_path}/image", "--cache-dir", tmp_path / "cache", "--gpus")
    ended = cli.enginebuild(*words, "all")
    assert (ended.code, ended.stderr) == (
        2,
        (
            "error: --gpus must be none, a count or ids of GPUs with commas, not 'all'\n"
            "hint: write for example --gpus none, --gpus 2 or --gpus device=0,1\n"
        ),
    )
    nowhere = {"PATH": str(tmp_path), "DOCKER_HOST": "unix:///nowhere.sock"}
    ended = cli.enginebuild(*words, "2", env=nowhere)
    assert (ended.code, ended.stderr) == (
        5,
        (
            "error: this machine cannot serve the image: no NVIDIA driver: this machine has no program "
            "nvidia-smi, and the step verify needs 2 GPUs\nhint: see --gpus\n"
        ),
    )
