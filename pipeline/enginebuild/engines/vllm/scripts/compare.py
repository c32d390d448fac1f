"""Whether what vLLM made of an argument is what a recipe says. Pure; the standard library alone."""

from __future__ import annotations

import dataclasses
import enum
from typing import Any

#: Values that leave the decision to vLLM; so does a negative number (a seed of -1, a length of -1).
_OPEN = (None, "auto")

#: What vLLM's CPU platform decides whatever was asked, so that it says nothing of a GPU's
#: (CpuPlatform.check_and_update_config, vLLM 0.32.0 and 0.33.0).
DECIDED_BY_CPU = (
    "async_scheduling",
    "block_size",
    "cudagraph_capture_sizes",
    "distributed_executor_backend",
    "enable_dbo",
    "mamba_ssm_cache_dtype",
    "max_cudagraph_capture_size",
)


def plain(value: Any) -> Any:
    """A value of vLLM's as JSON has it: enums by value, types of torch by name, objects by their fields."""
    if isinstance(value, enum.Enum):
        return plain(value.value) if isinstance(value.value, str | int | float) else value.name
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        return {name: plain(getattr(value, name, None)) for name in names if not name.startswith("_")}
    return str(value).removeprefix("torch.")


def agrees(asked: Any, found: Any) -> bool:
    """Whether `found`, which is plain, keeps what was asked. What leaves the decision to vLLM is kept."""
    if asked in _OPEN or (_is_number(asked) and asked < 0):
        return True
    if isinstance(asked, bool) or isinstance(found, bool):
        return asked is found
    if isinstance(asked, dict):
        return isinstance(found, dict) and all(
            key in found and _same_or_agrees(item, found[key]) for key, item in asked.items()
        )
    if isinstance(asked, list):
        return _lists_agree(asked, found)
    if isinstance(found, list):  # one value where several may be
        return found == [asked]
    if _is_number(asked) and _is_number(found):
        return bool(asked == found)
    return str(asked) == str(found)


def _lists_agree(asked: list[Any], found: Any) -> bool:
    if not isinstance(found, list):  # of several names the first is the model's
        return bool(asked) and agrees(asked[0], found)
    return len(asked) == len(found) and all(map(_same_or_agrees, asked, found))


def _same_or_agrees(asked: Any, found: Any) -> bool:
    """Within a mapping null, auto and -1 are values like others, and may be kept as they are."""
    return bool(asked == found) or agrees(asked, found)


def contradicts(name: str, asked: Any, effective: Any, *, stands_in: bool) -> bool:
    """Whether the engine does other than the recipe says.

    Switches, numbers and the type of its numbers count: names and mappings are resolved by vLLM (fp8 becomes
    fp8_e4m3). `stands_in`: the CPU's platform answers for a GPU's, and what it decides by itself says
    nothing.
    """
    if agrees(asked, effective) or (stands_in and name in DECIDED_BY_CPU):
        return False
    return isinstance(asked, bool) or _is_number(asked) or name == "dtype"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
