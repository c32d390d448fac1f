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
    program = _VLLM.read_bytes()
    files = {"usr/local/bin/vllm": Program(program, 0o755)}
    path = "/usr/local/bin:/usr/bin:/bin"
    if not python:
        files = {"opt/standin/vllm": Program(program, 0o755)}
        path = "/opt/standin"
    settings = {
        "Env": [f"PATH={path}", "PYTHONDONTWRITEBYTECODE=1"],
        "Entrypoint": ["vllm", "serve"],
        "Labels": {"standin": "true"},
    }
    write_layout(image([system_layer(busybox), layer(files)], settings), folder)
    return folder
