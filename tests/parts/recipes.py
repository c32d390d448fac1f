"""Recipes for tests, written into a folder of the test's own."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "recipes"
QUICKSTART_MODEL = SHIPPED / "quickstart-model"


def write(folder: Path, model: str, *, name: str = "tiny", base: str = "scratch", extra: str = "") -> Path:
    """A small recipe; `extra` are lines below `image:`, each indented by two spaces."""
    path = folder / f"{name}.yaml"
    path.write_text(
        f"version: 1\nname: {name}\nmodel: {model}\ndtype: float16\n"
        "engine:\n  type: vllm\n  version: 0.33.0\n  args: {max_model_len: 256}\n"
        f"image:\n  base: {base}\n{extra}"
    )
    return path
