"""A stand-in for lm-eval, as an environment in a folder and as an image, and a task for it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from parts.oci_image import OciImage, Program, image, layer
from parts.trtllm_images import system_layer

VERSION = "0.0.0"
_PROGRAM = Path(__file__).with_name("lm_eval_standin_program.py")
_FILES = {
    "lm_eval_standin_program.py": _PROGRAM.read_text("utf-8"),
    "lm_eval/__init__.py": "from lm_eval_standin_program import simple_evaluate\n",
    "lm_eval/tasks.py": "from lm_eval_standin_program import TaskManager\n",
    "lm_eval/models/__init__.py": "",
    "lm_eval/models/dummy.py": "from lm_eval_standin_program import DummyLM\n",
    "lm_eval/models/openai_completions.py": "from lm_eval_standin_program import LocalCompletionsAPI\n",
    f"lm_eval-{VERSION}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: lm_eval\nVersion: {VERSION}\n",
}


def write_environment(folder: Path) -> Path:
    """A virtual environment that has it and nothing else."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (packages,) = folder.glob("lib/python3*/site-packages")
    for name, text in _FILES.items():
        path = packages / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return folder


def lm_eval_image(busybox: Path) -> OciImage:
    files = {f"opt/standin/{name}": Program(text.encode()) for name, text in _FILES.items()}
    settings = {"Env": ["PATH=/usr/bin:/bin", "PYTHONPATH=/opt/standin"], "Labels": {"standin": "true"}}
    return image([system_layer(busybox), layer(files)], settings)


def write_task(folder: Path, *questions: str) -> None:
    """The task `firm`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "firm.yaml").write_text("task: firm\n")
    lines = (json.dumps({"question": question}) + "\n" for question in questions)
    (folder / "questions.jsonl").write_text("".join(lines))
