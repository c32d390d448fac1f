"""Bars for a pull: large layers only, each closed once, in the order of what Docker 28 says."""

from __future__ import annotations

from typing import Any

from enginebuild.events import Progress
from enginebuild.runners.pull import PullProgress

LARGE, SMALL = 100 << 20, 1 << 20


def said(status: str, layer: str = "", **detail: int) -> dict[str, Any]:
    return {"status": status, "progressDetail": detail, "id": layer}


def test_bars() -> None:
    progress = PullProgress()
    answers = [
        said("Pulling from llm/builder", "sha256:00"),
        said("Pulling fs layer", "aa"),
        said("Downloading", "aa", current=10, total=LARGE),
        said("Downloading", "bb", current=10, total=SMALL),
        said("Downloading", "aa", current=LARGE, total=LARGE),
        said("Verifying Checksum", "aa"),
        said("Download complete", "aa"),
        said("Download complete", "bb"),
        said("Extracting", "aa", current=5, total=LARGE),
        said("Extracting", "aa", current=LARGE, total=LARGE),
        said("Extracting", "aa", current=LARGE, total=LARGE),
        said("Pull complete", "aa"),
        said("Pull complete", "bb"),
        {"status": "Status: Downloaded newer image"},
    ]
    assert [event for answer in answers for event in progress(answer)] == [
        Progress("pull aa", 10, LARGE),
        Progress("pull aa", LARGE - 1, LARGE),
        Progress("pull aa", LARGE, LARGE),
        Progress("unpack aa", 5, LARGE),
        Progress("unpack aa", LARGE - 1, LARGE),
        Progress("unpack aa", LARGE - 1, LARGE),
        Progress("unpack aa", LARGE, LARGE),
    ]
