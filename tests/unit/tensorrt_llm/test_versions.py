"""The versions of TensorRT-LLM: which exist, what each can do, and what is said of the others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from enginebuild.engines.tensorrt_llm import versions
from enginebuild.engines.tensorrt_llm.table import options
from enginebuild.engines.tensorrt_llm.versions import (
    LAST_WITH_ENGINES,
    STABLE,
    Release,
    check_version,
    default_mode,
    release,
    release_image,
    releases,
    spans,
)
from enginebuild.errors import Problem

_DEV_16, _DEV_17, _NEWEST = "0.16.0.dev2024121000", "0.17.0.dev2024121700", "1.3.0rc3"


def test_all_versions_oldest_first() -> None:
    stable = ["0.12.0", "0.13.0", "0.14.0", "0.15.0", "0.16.0", "0.17.0", "0.17.0.post1", "0.18.0", "0.18.2"]
    stable += ["0.19.0", "0.20.0", "0.21.0", "1.0.0", "1.0.3.2510", "1.1.0", "1.2.0", "1.2.1"]
    candidates = [f"1.3.0rc{n}" for n in range(30)] + ["1.4.0rc0", "1.4.0rc1"]
    assert list(releases()) == stable + candidates
    assert stable[-1] == STABLE


def test_the_stable_version_whole() -> None:
    assert release("1.2.1") == Release(
        version="1.2.1",
        modes=("engine", "pytorch"),
        tensorrt="10.14.1.48",
        cuda="13.1.0",
        driver="590.44",
        triton_tags=("26.04", "26.05", "26.06", "26.07"),
        tables=(_NEWEST,),
        exact=False,
        published=True,
    )
    assert releases()["1.2.1"].triton_image == "nvcr.io/nvidia/tritonserver:26.07-trtllm-python-py3"
    assert release("9.9.9") is None


def test_engines_end_with_1_3_0rc20() -> None:
    last = list(releases()).index(LAST_WITH_ENGINES)
    for place, known in enumerate(releases().values()):
        assert ("engine" in known.modes) == (place <= last)


def test_pytorch_begins_with_1_0_0() -> None:
    first = list(releases()).index("1.0.0")
    for place, known in enumerate(releases().values()):
        assert ("pytorch" in known.modes) == (place >= first)


@pytest.mark.parametrize(
    ("version", "tables"),
    [
        ("0.12.0", ("0.12.0",)),
        ("0.14.0", ("0.14.0",)),
        ("0.15.0", ("0.14.0", _DEV_16)),
        ("0.16.0", (_DEV_16, _DEV_17)),
        ("0.17.0.post1", (_DEV_17,)),
        ("0.18.2", (_DEV_17, _NEWEST)),
        ("1.0.3.2510", (_DEV_17, _NEWEST)),
        ("1.1.0", (_DEV_17, _NEWEST)),
        ("1.2.1", (_NEWEST,)),
        ("1.3.0rc3", (_NEWEST,)),
        ("1.4.0rc1", (_NEWEST,)),
    ],
)
def test_whose_tables_stand_for_a_version(version: str, tables: tuple[str, ...]) -> None:
    assert releases()[version].tables == tables


def test_only_versions_with_a_table_of_their_own_are_exact() -> None:
    exact = [known for known in releases().values() if known.exact]
    assert [known.version for known in exact] == ["0.12.0", "0.13.0", "0.14.0", _NEWEST]
    assert all(known.tables == (known.version,) for known in exact)


def test_source_releases_are_not_published() -> None:
    assert [v for v, r in releases().items() if r.published is False] == [
        f"1.3.0rc{n}" for n in range(16, 21)
    ]
    assert [v for v, r in releases().items() if r.published is None] == ["1.0.3.2510", "1.3.0rc21"]


def test_every_triton_release_holds_one_version() -> None:
    tags = [tag for known in releases().values() for tag in known.triton_tags]
    assert tags == sorted(set(tags))
    assert (tags[0], tags[-1], len(tags)) == ("24.08", "26.07", 24)
    assert not any(known.triton_tags for v, known in releases().items() if v.startswith(("1.3", "1.4")))


def test_what_a_triton_image_says_of_its_version() -> None:
    with_tags = [known for known in releases().values() if known.triton_tags]
    assert all(known.tensorrt for known in with_tags)
    assert [known.version for known in with_tags if known.cuda is None] == [
        "0.12.0",
        "0.13.0",
        "0.14.0",
        "0.15.0",
    ]
    assert all((known.cuda is None) == (known.driver is None) for known in releases().values())


def test_the_file_has_a_source_for_each_fact() -> None:
    document = json.loads(Path(versions.__file__).with_name("versions.json").read_text())
    sourced = {word for names in document["sources"] for word in names.split(", ")}
    facts = {key for entry in document["releases"] for key in entry} - {"version", "exact"}
    assert facts == sourced


@pytest.mark.parametrize(
    ("version", "has_build", "mode"),
    [
        ("0.21.0", False, "engine"),
        ("0.21.0", True, "engine"),
        ("1.2.1", False, "pytorch"),
        ("1.2.1", True, "engine"),
        ("1.3.0rc22", False, "pytorch"),
        ("1.3.0rc22", True, "engine"),
        ("nonsense", False, "pytorch"),
    ],
)
def test_the_mode_of_a_recipe_that_names_none(version: str, has_build: bool, mode: str) -> None:
    assert default_mode(version, has_build) == mode


@pytest.mark.parametrize("version", ["0.12.0", "0.17.0.post1", "1.2.1", "1.3.0rc22", "1.4.0rc1"])
def test_a_known_version(version: str) -> None:
    assert check_version(version) is None


@pytest.mark.parametrize(
    ("version", "hint"),
    [
        ("v1.2.1", "write 1.2.1, without the v"),
        ("1.3.0-rc22", "write 1.3.0rc22"),
        ("1.3.0.RC22", "write 1.3.0rc22"),
        ("0.17.0-post1", "write 0.17.0.post1"),
        ("1.2", "write all three parts: 1.2.1"),
        ("v0.18", "write all three parts: 0.18.2"),
        ("1.0", "write all three parts: 1.0.0"),
        ("1.3", "write all three parts: 1.3.0rc29"),
        ("1.3.0", "there are only candidates of it yet: 1.3.0rc0 to 1.3.0rc29"),
        ("1.4.0rc7", "there are only candidates of it yet: 1.4.0rc0, 1.4.0rc1"),
        ("1.2.9", "known versions: 0.12.0 to 1.4.0rc1; of that minor version, 1.2.0, 1.2.1"),
        ("0.18.1", "known versions: 0.12.0 to 1.4.0rc1; of that minor version, 0.18.0, 0.18.2"),
        ("0.11.0", "known versions: 0.12.0 to 1.4.0rc1"),
        ("0.16.0.dev2024121000", "known versions: 0.12.0 to 1.4.0rc1; of that minor version, 0.16.0"),
        ("latest", "known versions: 0.12.0 to 1.4.0rc1"),
        ("12.1.2.1", "known versions: 0.12.0 to 1.4.0rc1"),
        ("", "known versions: 0.12.0 to 1.4.0rc1"),
    ],
)
def test_an_unknown_version(version: str, hint: str) -> None:
    message = f"TensorRT-LLM {version} is not a version that enginebuild knows"
    assert check_version(version) == Problem(("engine", "version"), message, hint)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ([], ""),
        (["1.2.1"], "1.2.1"),
        (["1.2.1", "1.2.0"], "1.2.0, 1.2.1"),
        (["0.12.0", "0.14.0", "0.13.0", "1.2.1"], "0.12.0 to 0.14.0, 1.2.1"),
    ],
)
def test_spans(given: list[str], text: str) -> None:
    assert spans(given) == text


def test_the_release_image() -> None:
    assert release_image("1.2.1") == "nvcr.io/nvidia/tensorrt-llm/release:1.2.1"


def test_every_engine_version_has_options_to_build_with() -> None:
    for version, known in releases().items():
        if "engine" in known.modes:
            assert {"max_batch_size", "gemm_plugin"} <= set(options(version, "build"))
