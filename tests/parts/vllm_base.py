"""A base image in which real vLLM (CPU build) serves, for an engine that mounts this machine's folders."""

from __future__ import annotations

from pathlib import Path

from parts.busybox_base import APPLETS
from parts.mounting_runtime import VARIABLE
from parts.oci_image import Program, image, layer, write_layout
from parts.vllm_cpu import VllmCpu


def write_vllm_base(folder: Path, vllm: VllmCpu, busybox: Path) -> Path:
    """An OCI layout; its entry point and environment are those of vLLM's own image for CPUs."""
    files = {
        "bin/busybox": Program(busybox.read_bytes(), 0o755),
        **{f"bin/{applet}": Program(link="busybox") for applet in APPLETS},
        "etc/passwd": Program(b"root:x:0:0:root:/root:/bin/sh\n"),
        "etc/group": Program(b"root:x:0:\n"),
        "root/.keep": Program(),
        "tmp/.keep": Program(),
    }
    interpreter = Path(vllm.python.resolve()).parents[1]
    mounted = dict.fromkeys(map(str, (vllm.folder, interpreter, "/usr", "/lib", "/lib64")))
    settings = {
        "Entrypoint": ["vllm", "serve"],
        "Env": [
            f"PATH={vllm.python.parent}:/usr/bin:/bin",
            "HOME=/root",
            "PYTHONDONTWRITEBYTECODE=1",
            f"{VARIABLE}={':'.join(mounted)}",
        ],
    }
    write_layout(image([layer(files)], settings), folder)
    return folder
