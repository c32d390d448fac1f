"""Images in which an environment of this machine is found, for an engine that mounts this machine's folders:
the base in which real vLLM (CPU build) serves, and others.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from parts.busybox_base import APPLETS
from parts.mounting_runtime import VARIABLE
from parts.oci_image import OciImage, Program, image, layer, write_layout
from parts.vllm_cpu import VllmCpu


def write_vllm_base(folder: Path, vllm: VllmCpu, busybox: Path) -> Path:
    """An OCI layout; its entry point and environment are those of vLLM's own image for CPUs."""
    settings = {"Entrypoint": ["vllm", "serve"]}
    write_layout(environment_image(vllm.python, vllm.folder, busybox, settings), folder)
    return folder


def environment_image(
    python: Path, folder: Path, busybox: Path, settings: Mapping[str, Any] | None = None
) -> OciImage:
    """The environment in a folder, with the interpreter that it is made of."""
    files = {
        "bin/busybox": Program(busybox.read_bytes(), 0o755),
        **{f"bin/{applet}": Program(link="busybox") for applet in APPLETS},
        "etc/passwd": Program(b"root:x:0:0:root:/root:/bin/sh\n"),
        "etc/group": Program(b"root:x:0:\n"),
        "root/.keep": Program(),
        "tmp/.keep": Program(),
    }
    interpreter = python.resolve().parents[1]
    mounted = dict.fromkeys(map(str, (folder, interpreter, "/usr", "/lib", "/lib64")))
    variables = [
        f"PATH={python.parent}:/usr/bin:/bin",
        "HOME=/root",
        "PYTHONDONTWRITEBYTECODE=1",
        f"{VARIABLE}={':'.join(mounted)}",
    ]
    return image([layer(files)], {**(settings or {}), "Env": variables})
