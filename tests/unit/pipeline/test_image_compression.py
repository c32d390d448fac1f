"""Compression in the key of the step `image`: absent for none, else with its library; refused without one."""

from __future__ import annotations

import sys
import zlib
from pathlib import Path
from typing import NoReturn

import pytest

from enginebuild.bases import Bases
from enginebuild.engines import vllm
from enginebuild.errors import RefusedError
from enginebuild.lock import BaseLock
from enginebuild.steps.image import Packing, image_step
from enginebuild.steps.server import Server
from enginebuild_images.compression import Choice

SERVER = Server(8000, vllm.ENVIRONMENT, vllm.healthcheck(8000), vllm.entrypoint)
PACKING = Packing(BaseLock("scratch", "linux/amd64", None), {"fetch": "/model"}, SERVER, {}, 0)


def _no_registry() -> NoReturn:
    raise AssertionError("the registry was asked for")


def _fields(choice: Choice) -> object:
    step = image_step(PACKING, choice, Bases(Path(), _no_registry), 1, None)
    return step.fields.get("compression")


def test_what_compresses_is_in_the_key() -> None:
    library = f"zlib {zlib.ZLIB_RUNTIME_VERSION}"
    assert _fields("none") is None
    assert _fields("gzip") == {
        "choice": "gzip",
        "methods": [{"name": "gzip", "level": 6, "library": library}],
    }


def test_zstd_without_a_library_is_refused_before_anything_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("compression.zstd", "backports.zstd", "backports"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(RefusedError) as caught:
        _fields("zstd")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert caught.value.message == (
        f"layers cannot be compressed with zstd: Python {version} here has no module for it"
    )
    assert caught.value.hint == "pip install enginebuild[zstd], or set image.compression to gzip"
