"""The generated parts of docs/recipe.md: one table per section of the recipe format, and the GPUs.

After a change of the format, write the page anew and read the difference before committing it:

    .venv/bin/python tests/parts/recipe_reference.py
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from enginebuild.recipe import catalogue
from enginebuild.recipe.builder_section import BUILDER
from enginebuild.recipe.engine_section import ENGINE
from enginebuild.recipe.format import CACHE, IMAGE, MODEL, RECIPE
from enginebuild.recipe.kinds import any_of
from enginebuild.recipe.methods import METHODS, READERS, SUPPORTED, Method
from enginebuild.recipe.quantization_section import CALIBRATION, QUANTIZATION
from enginebuild.recipe.section import Field, Section
from enginebuild.recipe.verify_section import MESSAGE, PERFORMANCE, PROMPT, QUALITY, SMOKE, VERIFY
from enginebuild.recipe.verify_tasks import LM_EVAL, TASK
from enginebuild.recipe.warm_section import WARM, WARM_KIND

PAGE = Path(__file__).parents[2] / "docs" / "recipe.md"
_PART = re.compile(r"(<!-- generated: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def page_as_generated(page: str) -> str:
    """The page with its generated parts as they should be."""
    return _PART.sub(lambda match: f"{match[1]}{_PARTS[match[2]]()}{match[3]}", page)


def parts_of(page: str) -> set[str]:
    return {match[2] for match in _PART.finditer(page)}


def _fields(section: Section) -> str:
    rows = ["| key | value | default | what it is |", "|---|---|---|---|"]
    rows += [
        f"| `{field.name}` | {_name(field)} | {_default(field)} | {field.text.replace('|', chr(92) + '|')} |"
        for field in section.fields
    ]
    return "\n".join(rows) + "\n"


def _name(field: Field) -> str:
    if field.kind in (
        ENGINE,
        IMAGE,
        BUILDER,
        CACHE,
        CALIBRATION,
        VERIFY,
        SMOKE,
        QUALITY,
        PERFORMANCE,
        LM_EVAL,
    ):
        return f"[mapping](#{field.name})"
    if field.kind is WARM_KIND:
        return f"true, false or a [mapping](#{field.name})"
    return field.kind.name


def _default(field: Field) -> str:
    if field.required:
        return "**required**"
    return "" if field.default in (None, {}) else f"`{json.dumps(field.default)}`"


def _methods() -> str:
    """Which tool makes a method for which reader, the default tool first."""
    rows = [
        f"| method | texts | {' | '.join(READERS.values())} |",
        f"|---|---|{'---|' * len(READERS)}",
    ]
    for name, method in METHODS.items():
        tools = [
            ", ".join(tool for tool, made in SUPPORTED[served].items() if name in made.methods)
            for served in READERS
        ]
        rows.append(f"| `{name}` | {_texts(method)} | {' | '.join(tools)} |")
    return "\n".join(rows) + "\n"


def _texts(method: Method) -> str:
    """For whom a method needs texts."""
    if method.either:
        return f"needed, but not with {any_of(method.either)}"
    others = " and ".join(READERS[served] for served in method.otherwise)
    if method.calibrated:
        return f"needed, except for {others}" if others else "needed"
    return f"for {others}" if others else ""


def _gpus() -> str:
    rows = [
        "| name | capability | memory, GB | GB/s | TFLOPs: fp16, fp8, fp4 | NVLink | nvidia-smi's name |",
        "|---|---|---|---|---|---|---|",
    ]
    for gpu in catalogue().values():
        speeds = ", ".join(_speed(gpu.tflops.get(kind)) for kind in ("fp16", "fp8", "fp4"))
        joined = "" if gpu.nvlink_gb_s is None else f"{gpu.joined} × {gpu.nvlink_gb_s:g} GB/s"
        cells = (
            gpu.compute_capability,
            gpu.memory_gb,
            f"{gpu.bandwidth_gb_s:g}",
            speeds,
            joined,
            gpu.product,
        )
        rows.append(f"| `{gpu.name}` | {' | '.join(map(str, cells))} |")
    return "\n".join(rows) + "\n"


def _speed(tflops: float | None) -> str:
    return "–" if tflops is None else f"{tflops:.0f}"


_PARTS = {
    "recipe": lambda: _fields(RECIPE),
    "model": lambda: _fields(MODEL),
    "engine": lambda: _fields(ENGINE),
    "quantization": lambda: _fields(QUANTIZATION),
    "calibration": lambda: _fields(CALIBRATION),
    "methods": _methods,
    "image": lambda: _fields(IMAGE),
    "builder": lambda: _fields(BUILDER),
    "warm": lambda: _fields(WARM),
    "verify": lambda: _fields(VERIFY),
    "smoke": lambda: _fields(SMOKE),
    "prompts": lambda: _fields(PROMPT),
    "messages": lambda: _fields(MESSAGE),
    "quality": lambda: _fields(QUALITY),
    "tasks": lambda: _fields(TASK),
    "lm_eval": lambda: _fields(LM_EVAL),
    "performance": lambda: _fields(PERFORMANCE),
    "cache": lambda: _fields(CACHE),
    "gpus": _gpus,
}

if __name__ == "__main__":
    PAGE.write_text(page_as_generated(PAGE.read_text("utf-8")), "utf-8")
