"""An image in which a stand-in for vLLM serves: `vllm serve --config FILE` and `vllm bench serve`.

It speaks the OpenAI API over real HTTP in a real container, knows one capital, and fails as the model's
config.json tells it to (`standin_fault`).
"""

from __future__ import annotations

from pathlib import Path

from parts.oci_image import Program, image, layer, write_layout
from parts.trtllm_images import system_layer

_VLLM = Path(__file__).with_name("vllm_standin_program.py")


def write_base(folder: Path, busybox: Path, *, python: bool = True) -> Path:
    """An OCI layout with the image; without `python` its server runs, and nothing beside it can."""
    name = "vllm" if python else "python3-elsewhere/vllm"
    files = {f"usr/local/bin/{name}": Program(_VLLM.read_bytes(), 0o755)}
    settings = {
        "Env": ["PATH=/usr/local/bin:/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE=1"],
        "Entrypoint": ["vllm", "serve"] if python else ["/usr/local/bin/python3-elsewhere/vllm", "serve"],
        "Labels": {"standin": "true"},
    }
    if not python:
        settings["Env"] = ["PATH=/bin/none"]
    write_layout(image([system_layer(busybox), layer(files)], settings), folder)
    return folder
