"""YAML of other tools, read as they read it: PyYAML and YAML 1.1, without places in the text."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import yaml

from enginebuild.errors import RecipeError
from enginebuild.recipe.show import printable
from enginebuild_cache import Json

#: Bytes of a file, and values in it with those that aliases repeat.
LARGEST = 1 << 20
_MOST_VALUES = 100_000


class _Loader(yaml.SafeLoader):
    """Dates stay texts."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_foreign(path: Path) -> Json:
    """The value in a file. Raises RecipeError for a file that cannot be read or holds no plain YAML."""
    name = printable(str(path))
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise RecipeError(f"{name}: cannot be read: {error.strerror}", "check the path") from error
    if len(content) > LARGEST:
        raise RecipeError(f"{name}: more than {LARGEST:,} bytes, which no such file has")
    try:
        value = yaml.load(content, _Loader)  # noqa: S506 - a safe loader with less
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise RecipeError(f"{name}{line}: no YAML: {printable(error.problem or '')}") from error
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise RecipeError(f"{name}: no YAML that can be read") from error
    return _plain(value, name, [_MOST_VALUES])


def _plain(value: object, name: str, left: list[int]) -> Json:
    """The value as JSON has it. `left`: how many values may follow, for aliases can repeat many."""
    left[0] -= 1
    if left[0] < 0:
        raise RecipeError(f"{name}: more than {_MOST_VALUES:,} values, which no such file has")
    if isinstance(value, dict):
        return {_key(key): _plain(item, name, left) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, name, left) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return cast("Json", value)
    raise RecipeError(f"{name}: holds a value of YAML that JSON has not: {type(value).__name__}")


def _key(key: object) -> str:
    """YAML 1.1 reads `on` and `no` as booleans, and JavaScript's readers do not."""
    return str(key).lower() if isinstance(key, bool) or key is None else str(key)
