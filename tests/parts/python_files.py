"""The files of a whole Python for an image: this machine's, with the shared libraries that it needs."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import sysconfig
from functools import cache
from pathlib import Path

import yaml

from parts.oci_image import Program

VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"
#: Where packages lie in the image. Named by PYTHONPATH there, for distributions of Python differ.
PACKAGES = f"usr/local/lib/python{VERSION}/dist-packages"

#: What no stand-in imports, and what would double the image.
_LEFT_OUT = re.compile(
    r"^(?:test|idlelib|tkinter|turtledemo|lib2to3|ensurepip|distutils|pydoc_data|site-packages|dist-packages"
    r"|config-.*|unittest|sqlite3|curses|dbm|msilib)(?:/|$)|(?:^|/)(?:__pycache__|tests?)/"
)
_NATIVE_LEFT_OUT = re.compile(
    r"/_?(?:test|ctypes_test|xx|tkinter|sqlite3|curses|dbm|gdbm|ssl|hashlib|readline|codecs_|crypt|nis)"
)


@cache
def python_files() -> dict[str, Program]:
    """Path in the image → file. The interpreter is /usr/bin/python3; it finds its library beside itself."""
    interpreter = Path(sys.base_prefix, "bin", f"python{VERSION}").resolve()
    library = Path(sysconfig.get_path("stdlib"))
    files = {f"usr/bin/python{VERSION}": Program(interpreter.read_bytes(), 0o755)}
    for link in ("python", "python3"):
        files[f"usr/bin/{link}"] = Program(link=f"python{VERSION}")
    native = [interpreter]
    for path in sorted(library.rglob("*")):
        inner = str(path.relative_to(library))
        if not path.is_file() or _LEFT_OUT.search(inner) or path.suffix not in (".py", ".so"):
            continue
        if path.suffix == ".so":
            if _NATIVE_LEFT_OUT.search(f"/{inner.rpartition('/')[2]}"):
                continue
            native.append(path)
        files[f"usr/lib/python{VERSION}/{inner}"] = Program(path.read_bytes())
        files |= _compiled(path, library)
    return files | _libraries(native) | _yaml()


def _compiled(path: Path, library: Path) -> dict[str, Program]:
    """What this machine has compiled of a module, marked as true whatever the source's time is (PEP 552)."""
    if path.suffix != ".py":
        return {}
    cached = Path(importlib.util.cache_from_source(str(path)))
    if not cached.is_file():
        return {}
    content = cached.read_bytes()
    unchecked = content[:4] + b"\x01\0\0\0" + bytes(8) + content[16:]
    return {f"usr/lib/python{VERSION}/{cached.relative_to(library)}": Program(unchecked)}


def _libraries(native: list[Path]) -> dict[str, Program]:
    """The shared libraries that the files name, at their own paths."""
    listed = subprocess.run(["ldd", *map(str, native)], capture_output=True, text=True, check=True).stdout
    found = set(re.findall(r"(?:=> )?(/\S+) \(0x", listed))
    files = {}
    for name in sorted(found):
        path = Path(name)
        # One that lies with the interpreter would not be looked for at a path of this machine.
        place = f"usr/lib/{path.name}" if path.is_relative_to(sys.base_prefix) else name.lstrip("/")
        if place.startswith(("lib/", "lib64/")):
            place = f"usr/{place}"
        files[place] = Program(path.read_bytes(), 0o755)
    return files


def _yaml() -> dict[str, Program]:
    """PyYAML without its compiled part; the real images have it."""
    folder = Path(yaml.__file__).parent
    return {f"{PACKAGES}/yaml/{path.name}": Program(path.read_bytes()) for path in folder.glob("*.py")}
