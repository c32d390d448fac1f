"""Fixtures that every test has: an environment of its own, no network, and real services on loopback."""

from __future__ import annotations

import itertools
import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from parts import busybox_base, isolation, services, timelimit
from parts.busybox_base import BusyboxBase
from parts.registry_real import docker_registry
from parts.services import DockerEngine

isolation.keep_shared_folders()
# A deadline of milliseconds is about the machine's load, not about the code.
settings.register_profile("unhurried", settings(), deadline=None)
settings.load_profile("unhurried")

_SESSION = pytest.StashKey[services.Session]()


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # xdist's workers find the session in their environment
        config.stash[_SESSION] = services.Session()
        os.environ[services.SESSION] = str(config.stash[_SESSION].folder)


def pytest_unconfigure(config: pytest.Config) -> None:
    if session := config.stash.get(_SESSION, None):
        session.end()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Markers that follow from what a test asks for, so that none is forgotten."""
    for item in items:
        wanted = getattr(item, "fixturenames", ())
        for fixture, marker in (("docker_engine", "docker"), ("registry", "registry")):
            if fixture in wanted:
                item.add_marker(marker)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    with timelimit.limited(timelimit.limit_of(item)):
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_network() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        isolation.block_network(patch)
        yield


@pytest.fixture(scope="session")
def _homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("homes")
    return (folder / str(number) for number in itertools.count())  # mktemp for each would search the folder


@pytest.fixture(autouse=True)
def home(_homes: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder of the test's own; caches, configuration and credentials are looked up there."""
    folder = next(_homes)
    folder.mkdir()
    isolation.isolate(folder, monkeypatch)
    return folder


@pytest.fixture
def cache_dir(tmp_path: Path) -> Path:
    """Where an empty store may be made; does not exist yet."""
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def docker_engine() -> DockerEngine:
    """A real Docker Engine: the one that DOCKER_HOST names, else one of the session's own."""
    return services.docker_engine()


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`host:port` of a real docker-registry that is this worker's own."""
    services.program("docker-registry")
    with docker_registry(tmp_path_factory.mktemp("registry")) as host:
        yield host


@pytest.fixture(scope="session")
def skopeo() -> Path:
    """The program skopeo."""
    return services.program("skopeo")


@pytest.fixture(scope="session")
def base_layout(tmp_path_factory: pytest.TempPathFactory) -> BusyboxBase:
    """A tiny real base image with a shell, as an OCI layout and as an archive for `docker load`."""
    return busybox_base.make(tmp_path_factory.mktemp("base"), services.program("busybox"))
