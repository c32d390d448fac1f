"""An image in which the stand-in for vLLM has a compile cache, too."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from parts.oci_image import Program, image, layer, write_layout
from parts.trtllm_images import system_layer

_FOLDER = Path(__file__).parent


def write_warm_base(folder: Path, busybox: Path, *, cuda: bool = False) -> Path:
    """An OCI layout with the image; with `cuda` it says that it is one for NVIDIA's GPUs."""
    files = {
        "usr/local/bin/vllm": Program((_FOLDER / "vllm_warm_standin_program.py").read_bytes(), 0o755),
        "opt/standin/vllm-server": Program((_FOLDER / "vllm_standin_program.py").read_bytes(), 0o755),
    }
    settings = {
        "Env": [
            *("PATH=/usr/local/bin:/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE=1", "VLLM_IMAGE_TAG=standin"),
            *(["CUDA_VERSION=13.0.3"] if cuda else []),
        ],
        "Entrypoint": ["vllm", "serve"],
        "Labels": {"standin": "true"},
    }
    write_layout(image([system_layer(busybox), layer(files), _tmp()], settings), folder)
    return folder


def _tmp() -> bytes:
    """The folder that everybody may write to, as every real base has it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        entry = tarfile.TarInfo("tmp")
        entry.type, entry.mode = tarfile.DIRTYPE, 0o1777
        tar.addfile(entry)
    return out.getvalue()
