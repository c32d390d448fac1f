"""How the kinds of vLLM's arguments are said in messages; and the words that all engines share."""

from __future__ import annotations

from enginebuild.engines.vllm.table import Argument, Kind
from enginebuild.engines.words import closest, listed, one_of, shown

__all__ = ["closest", "listed", "one_of", "shown", "wanted"]

_KINDS: dict[Kind, str] = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "object": "a mapping",
    "json_list": "a list of text",
    "readable_int": "a whole number, or text such as 8k (8000) or 8K (8192)",
    "readable_int_or_auto": "a whole number, text such as 8k (8000) or 8K (8192), or auto",
    "str_or_object": "text or a mapping",
}
_MANY: dict[Kind, str] = {
    "int": "a list of whole numbers",
    "float": "a list of numbers",
    "str": "a list of text",
}


def wanted(argument: Argument) -> str:
    """What an argument takes, in words."""
    return _MANY[argument.kind] if argument.many else _KINDS[argument.kind]
