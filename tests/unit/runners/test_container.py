"""`docker run …` as it is shown to people who want to repeat a command."""

from __future__ import annotations

from pathlib import Path

import pytest

from enginebuild.execution import ContainerEnvironment, Execution, Folders, GpuNeed, Limits
from enginebuild.runners.container import docker_run, pinned
from enginebuild_cache import Digest

DIGEST = Digest("ab" * 32)
IMAGE = ContainerEnvironment("nvcr.io/nvidia/tensorrt-llm/release:1.2.1", DIGEST)
HERE = Folders({"fetch": Path("fetch")}, Path("/logs/a b/scripts"), Path("output"))
PINNED = f"nvcr.io/nvidia/tensorrt-llm/release@sha256:{'ab' * 32}"


def test_the_image_is_pinned_by_its_digest_alone() -> None:
    assert pinned(IMAGE) == PINNED
    assert pinned(ContainerEnvironment("busybox", DIGEST)).startswith("docker.io/library/busybox@sha256:")


def test_everything_that_decides_is_in_it() -> None:
    execution = Execution(
        "compile",
        IMAGE,
        (("trtllm-build", "--x"),),
        gpus=GpuNeed(ids=("0", "1")),
        limits=Limits(memory=200 * 10**9),
        variables={"A": "b c"},
        secrets=("HF_TOKEN",),
    )
    assert docker_run(execution, ("trtllm-build", "--x", "it's"), HERE, ("0", "1")) == (
        "docker run --rm --user 0:0 --gpus '\"device=0,1\"' --network none --memory 200000000000 "
        "--memory-swap 200000000000 --shm-size 17179869184 --ulimit memlock=-1 --ulimit stack=67108864 "
        "--security-opt no-new-privileges -e 'A=b c' -e HF_TOKEN "
        '-v "$PWD"/fetch:/enginebuild/input/fetch:ro '
        "-v '/logs/a b/scripts':/enginebuild/scripts:ro "
        '-v "$PWD"/output:/enginebuild/output '
        f"--entrypoint trtllm-build {PINNED} --x 'it'\"'\"'s'"
    )


@pytest.mark.parametrize(
    ("execution", "words"),
    [
        (Execution("x", IMAGE, (), limits=Limits(shared_memory=None)), "--user 0:0 --network none --ulimit"),
        (
            Execution("x", IMAGE, (), limits=Limits(shared_memory=None), network=True, gpus=GpuNeed(2)),
            "--user 0:0 --gpus 2 --ulimit",
        ),
    ],
)
def test_what_is_not_asked_for_is_not_said(execution: Execution, words: str) -> None:
    assert words in docker_run(execution, ("true",), HERE, ())
