"""Images of stand-ins that a Docker Engine runs: busybox, a whole Python, and TensorRT-LLM's programs.

One stands in for NVIDIA's release image, in which engines are built and served; one for Triton's.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from enginebuild.engines.tensorrt_llm.versions import releases
from parts.busybox_base import APPLETS
from parts.oci_image import OciImage, Program, image, layer
from parts.python_files import PACKAGES, python_files
from parts.trtllm_programs import WORKDIR, image_files, package_files
from parts.trtllm_templates import template_files

#: The image that the real release image is built upon has these, too.
_ENVIRONMENT = (
    "PATH=/opt/tritonserver/bin:/usr/local/bin:/usr/bin:/bin",
    f"PYTHONPATH=/{PACKAGES}",
    "PYTHONDONTWRITEBYTECODE=1",
)
_TRITON = b"#!/usr/bin/python3\n# A stand-in.\nfrom trtllm_standin.triton import %s\n\n%s()\n"


@cache
def system_layer(busybox: Path) -> bytes:
    """The layer of the operating system: equal for every image, so that it is stored and pulled once."""
    files = {
        "bin/busybox": Program(busybox.read_bytes(), 0o755),
        **{f"bin/{applet}": Program(link="busybox") for applet in APPLETS},
        "etc/passwd": Program(b"root:x:0:0:root:/root:/bin/sh\n"),
        "etc/group": Program(b"root:x:0:\n"),
        "lib": Program(link="usr/lib"),
        "lib64": Program(link="usr/lib64"),
        "tmp/.keep": Program(),
        "root/.keep": Program(),
    }
    return layer(files | python_files())


def release_image(version: str, busybox: Path) -> OciImage:
    """Stands in for nvcr.io/nvidia/tensorrt-llm/release:VERSION."""
    return image([system_layer(busybox), layer(image_files(version))], _settings(version, f"/{WORKDIR}"))


def triton_image(version: str, busybox: Path) -> OciImage:
    """Stands in for nvcr.io/nvidia/tritonserver:TAG-trtllm-python-py3."""
    files = {
        **{f"{PACKAGES}/{path}": file for path, file in package_files(version).items()},
        **{f"app/all_models/{path}": Program(text) for path, text in template_files(version).items()},
        "usr/local/bin/mpirun": Program(_TRITON % (b"mpirun", b"mpirun"), 0o755),
        "opt/tritonserver/bin/tritonserver": Program(_TRITON % (b"main", b"main"), 0o755),
    }
    settings = _settings(version, "/opt/tritonserver")
    settings["Entrypoint"] = ["/opt/nvidia/nvidia_entrypoint.sh"]
    files["opt/nvidia/nvidia_entrypoint.sh"] = Program(b'#!/bin/sh\nexec "$@"\n', 0o755)
    tag = releases()[version].triton_tags[-1]
    settings["Env"] = [*settings["Env"], f"NVIDIA_TRITON_SERVER_VERSION={tag}"]
    return image([system_layer(busybox), layer(files)], settings)


def _settings(version: str, workdir: str) -> dict[str, Any]:
    """Without entry point and command, as the release image is."""
    variables = [*_ENVIRONMENT, f"TRT_LLM_VERSION={version}", "TRT_LLM_GIT_COMMIT=standin"]
    if (cuda := releases()[version].cuda) is not None:
        variables.append(f"CUDA_VERSION={cuda}.036")  # NVIDIA's images have the build as a fourth number
    return {"Env": variables, "Labels": {"standin": "true"}, "WorkingDir": workdir}
