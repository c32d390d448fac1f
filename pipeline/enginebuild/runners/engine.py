"""The Docker Engine that runs containers: reached, asked, and its errors in our words."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import docker
import docker.constants
import docker.errors
import requests.exceptions

from enginebuild.errors import StepError
from enginebuild.runners.ssh import forwarded

#: Seconds of silence before the engine is given up; a container's log is waited for without end.
_TIMEOUT = 3600
#: Says that the engine does not see this machine's disk although its socket is here: in a VM, or another
#: container's.
COPY = "ENGINEBUILD_DOCKER_COPY"
#: The program by which a Docker Engine knows that it can give GPUs (moby, daemon/nvidia_linux.go).
_HOOK = "nvidia-container-runtime-hook"
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NO_GPU_SUPPORT = (
    "no NVIDIA container runtime: the Docker Engine at {host} does not give GPUs to containers "
    "(install nvidia-container-toolkit, and run `nvidia-ctk runtime configure --runtime=docker`)"
)

#: The second is urllib3's own, which docker passes on when an answer breaks off; stubs lack its name.
LOST = (requests.exceptions.RequestException, requests.exceptions.BaseHTTPError)  # type: ignore[attr-defined]


@contextmanager
def engine() -> Iterator[docker.DockerClient]:
    """A client of the engine that DOCKER_HOST names, or of the local one. Its errors become StepError."""
    _knock(host())
    try:
        with forwarded(host()) as address, contextlib.ExitStack() as stack:
            variables = {**os.environ, "DOCKER_HOST": address} if address else None
            client = docker.from_env(timeout=_TIMEOUT, environment=variables)
            stack.callback(client.close)
            yield client
    except docker.errors.APIError as error:
        raise StepError(f"the Docker Engine says: {error.explanation or error}") from error
    except (docker.errors.DockerException, *LOST) as error:
        raise _unreachable(error) from error


def _knock(address: str) -> None:
    """Raises StepError if nobody listens at a Unix socket; docker 7.2 would leave its own one open then."""
    if not address.startswith("unix://"):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(address.removeprefix("unix://"))
        except OSError as error:
            raise _unreachable(error) from error


def _unreachable(error: Exception) -> StepError:
    return StepError(
        f"no Docker Engine at {host()}: {_cause(error)}",
        "is it running, may you use its socket, and is DOCKER_HOST right?",
    )


def host() -> str:
    """Where the engine is, as DOCKER_HOST says it."""
    default: str = docker.constants.DEFAULT_UNIX_SOCKET
    return os.environ.get("DOCKER_HOST") or default.removeprefix("http+")


def sees_our_disk(facts: Mapping[str, Any]) -> bool:
    """Whether a folder of this machine can be mounted in a container, for root in it to write there.

    `facts` is what `docker info` says. With user namespaces root in a container is nobody here.
    """
    remapped = any("name=userns" in option for option in facts.get("SecurityOptions") or ())
    return is_here() and not remapped


def me_inside(facts: Mapping[str, Any]) -> str:
    """Our user and group as programs in a container see them: a rootless engine's root is we ourselves."""
    rootless = any("name=rootless" in option for option in facts.get("SecurityOptions") or ())
    return "0:0" if rootless else f"{os.geteuid()}:{os.getegid()}"


def is_here() -> bool:
    """Whether the engine runs on this machine, as far as its address says so."""
    return host().startswith("unix://") and os.environ.get(COPY) != "1"


def gives_gpus(facts: Mapping[str, Any]) -> bool:
    """Whether `docker run --gpus` can work; True where that cannot be known of a remote engine.

    The runtime `nvidia` is not needed for it, and is there if the toolkit was installed as its manual says.
    """
    devices = facts.get("DiscoveredDevices") or ()
    if "nvidia" in (facts.get("Runtimes") or {}) or any("nvidia.com/gpu" in str(found) for found in devices):
        return True
    path = f"{os.environ.get('PATH', os.defpath)}:{_SYSTEM_PATH}"
    return not is_here() or shutil.which(_HOOK, path=path) is not None


def _cause(error: BaseException | None) -> str:
    """What the system said, without what two libraries say around it."""
    said, inner = str(error), error
    while inner is not None:
        if isinstance(inner, OSError):
            said = inner.strerror or str(inner)
        inner = inner.__cause__ or inner.__context__
    return said
