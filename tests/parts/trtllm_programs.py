"""The stand-ins of one version of TensorRT-LLM as files: for an image, and for an environment here."""

from __future__ import annotations

import sys
from pathlib import Path

from enginebuild.engines.tensorrt_llm.versions import releases
from parts.oci_image import Program
from parts.python_files import PACKAGES, VERSION
from parts.trtllm_tables import FAMILIES, tables

#: Where the image has NVIDIA's examples: its working directory.
WORKDIR = "app/tensorrt_llm"
_PACKAGE = Path(__file__).with_name("trtllm_standin")
#: The last version known to have examples/llama, and the first known to have examples/models/core/llama.
_FLAT, _NESTED = "0.17.0.post1", "0.20.0"


def package_files(version: str) -> dict[str, Program]:
    """The package of the stand-ins and the metadata of what it stands in for, in a folder of packages."""
    release = releases()[version]
    files = {
        f"trtllm_standin/{path.name}": Program(path.read_bytes()) for path in sorted(_PACKAGE.glob("*.py"))
    }
    files["trtllm_standin/VERSION"] = Program(f"{version}\n".encode())
    for command, table in tables(version).items():
        files[f"trtllm_standin/tables/{command}.json"] = Program(table)
    installed = {"tensorrt_llm": version, "nvidia-modelopt": "0.37.0", "torch": "2.9.1"}
    if release.tensorrt is not None and "engine" in release.modes:
        installed["tensorrt"] = release.tensorrt
    for name, number in installed.items():
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n"
        folder = f"{name.replace('-', '_')}-{number}.dist-info"
        files[f"{folder}/METADATA"] = Program(metadata.encode())
    return files


def commands(version: str, python: str) -> dict[str, Program]:
    """The programs on PATH by name."""
    files = {"trtllm-serve": _program(python, "serve")}
    if "engine" in releases()[version].modes:
        files["trtllm-build"] = _program(python, "build")
    return files


def example_files(version: str, python: str) -> dict[str, Program]:
    """The scripts below the examples folder, at the paths of the version."""
    if "engine" not in releases()[version].modes:
        return {}
    known = list(releases())
    flat = known.index(version) < known.index(_NESTED)
    nested = known.index(version) > known.index(_FLAT)
    files = {"quantization/quantize.py": _program(python, "quantize")}
    for family in FAMILIES:
        if f"convert_{family}" in tables(version):
            script = _program(python, "convert")
            if flat:
                files[f"{family}/convert_checkpoint.py"] = script
            if nested:
                files[f"models/core/{family}/convert_checkpoint.py"] = script
    return files


def _program(python: str, module: str) -> Program:
    text = f"#!{python}\n# A stand-in.\nfrom trtllm_standin.{module} import main\n\nmain()\n"
    return Program(text.encode(), 0o755)


def image_files(version: str) -> dict[str, Program]:
    """What NVIDIA's release image has beyond its operating system and Python."""
    python = "/usr/bin/python3"
    return {
        **{f"{PACKAGES}/{path}": file for path, file in package_files(version).items()},
        **{f"usr/local/bin/{name}": file for name, file in commands(version, python).items()},
        **{f"{WORKDIR}/examples/{path}": file for path, file in example_files(version, python).items()},
    }


def write_environment(folder: Path, version: str) -> Path:
    """A Python environment on this machine with the stand-ins; its FAULT file is returned, not made.

    The examples lie in `folder`/examples.
    """
    python = folder / "bin" / "python3"
    packages = folder / "lib" / f"python{VERSION}" / "site-packages"
    _write(packages, package_files(version))
    _write(folder / "bin", commands(version, str(python)))
    _write(folder / "examples", example_files(version, str(python)))
    base = Path(sys.base_prefix) / "bin"
    (folder / "pyvenv.cfg").write_text(f"home = {base}\ninclude-system-site-packages = false\n")
    for link in ("python", "python3"):
        (folder / "bin" / link).symlink_to(base / f"python{VERSION}")
    return packages / "trtllm_standin" / "FAULT"


def _write(folder: Path, files: dict[str, Program]) -> None:
    for path, program in files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(program.content)
        file.chmod(program.mode)
