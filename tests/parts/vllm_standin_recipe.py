"""Recipes of a tiny model in a stand-in of vLLM, which may be told to fail in a certain way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def write_standin_recipe(
    folder: Path, fault: str = "", *, base: str = "base", args: Any = None, image: Any = None, **sections: Any
) -> Path:
    """`tiny.yaml` of the model and the base in the folder; sections that are None are left out.

    `fault`: how the stand-in fails, which it reads in the model's config.json.
    """
    config = folder / "model" / "config.json"
    document = json.loads(config.read_text())
    document.pop("standin_fault", None)
    config.write_text(json.dumps({**document, **({"standin_fault": fault} if fault else {})}))
    values = {
        "version": 1,
        "name": "tiny",
        "model": "file:./model",
        "engine": {"type": "vllm", "version": "0.32.0", "args": args or {}},
        "image": {"base": f"oci:{base}:latest", "tags": ["latest"], **(image or {})},
        **{name: section for name, section in sections.items() if section is not None},
    }
    path = folder / "tiny.yaml"
    path.write_text(json.dumps(values))
    return path
