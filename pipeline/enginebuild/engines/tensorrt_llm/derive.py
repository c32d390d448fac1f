"""Write options.json and keys.json from a folder of facts, what TensorRT-LLM's own parsers say they take.

    python -m enginebuild.engines.tensorrt_llm.derive FOLDER

The facts have one file per version and command, `VERSION_COMMAND.json`. Kept is what enginebuild writes or
refuses, each option once with the versions whose parsers agree on it; equal facts give equal bytes. No
version is run here, and nothing is known of one without a file: versions.json says whose table stands for it.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

#: Versions with a table of their own, oldest first. 0.11.0 cannot be built for; its table names what is gone.
TABLES = ("0.11.0", "0.12.0", "0.13.0", "0.14.0", "0.16.0.dev2024121000", "0.17.0.dev2024121700", "1.3.0rc3")
KEYS_TABLE = "1.3.0rc3"
FAMILIES = ("enc_dec", "gemma", "gpt", "llama", "phi", "qwen")
COMMANDS = ("build", "quantize", "serve", *(f"convert_{family}" for family in FAMILIES))

#: Options of quantize.py and convert_checkpoint.py that are neither written nor refused: other sources than a
#: Hugging Face folder, the shape of a model without one, Medusa heads, automatic mixed precision.
LEFT_OUT = frozenset(
    """
    auto_quantize_bits autoq_format dataset_cache_dir decoder_type ffn_dim_multiplier hidden_act inter_size
    load_by_shard max_draft_len medusa_hidden_act medusa_model_dir meta_ckpt_dir moe_num_experts
    moe_renorm_mode moe_top_k multiple_of n_embd n_head n_kv_head n_layer n_positions nemo_ckpt_path
    nemo_rename_key num_medusa_heads num_medusa_layers quant_medusa_head rms_norm_eps rotary_base
    save_config_only vocab_size weight_compression
    """.split()
)

_TYPES = {
    None: "str",
    "CheckpointType": "str",
    "KVCacheType": "str",
    "Path": "str",
    "boolean": "bool",
    "choice": "str",
    "integer": "int",
    "path": "str",
    "text": "str",
}
#: An enumeration of compiled code, in the case that every version takes (0.12.0 to 1.3.0rc3).
_ENUMERATIONS = {"KVCacheType": ["continuous", "paged", "disabled"]}
_NARGS = {None: "one", 0: "none", "?": "optional", "+": "many"}
_PLAIN = {"bool", "dict", "float", "int", "object", "str"}


def written(folder: Path) -> dict[str, str]:
    """The text of both files by name. Raises OSError and KeyError where the facts lack what is needed."""
    facts = {
        (version, command): json.loads(path.read_text(encoding="utf-8"))["options"]
        for command in COMMANDS
        for version in TABLES
        if (path := folder / f"{version}_{command}.json").exists()
    }
    llmargs = json.loads((folder / f"{KEYS_TABLE}_llmargs.json").read_text(encoding="utf-8"))["options"]
    return {"keys.json": _keys_text(llmargs), "options.json": _options_text(facts)}


def _options_text(facts: Mapping[tuple[str, str], Any]) -> str:
    """One line for each option and the versions that agree on it."""
    parts = []
    for command in COMMANDS:
        tables = [version for version in TABLES if (version, command) in facts]
        merged = _merged({version: _entries(command, facts[version, command]) for version in tables})
        lines = [
            f"   {json.dumps(name)}: [\n    " + ",\n    ".join(map(_line, entries)) + "]"
            for name, entries in merged.items()
        ]
        head = f'  {json.dumps(command)}: {{"tables": {json.dumps(tables)}, "options": {{\n'
        parts.append(head + ",\n".join(lines) + "\n  }}")
    source = "the parsers of these versions of TensorRT-LLM, by derive.py"
    head = f'{{"source": {json.dumps(source)},\n "tables": {json.dumps(TABLES)},\n "commands": {{\n'
    return head + ",\n".join(parts) + "\n }}\n"


def _line(entry: Mapping[str, Any]) -> str:
    return json.dumps(entry, sort_keys=True)


def _merged(tables: dict[str, dict[str, dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """Option → what it is, with the versions in which it is that; in the order of the newest parser."""
    merged: dict[str, list[dict[str, Any]]] = {}
    for version in reversed(tables):
        for name in tables[version]:
            merged.setdefault(name, [])
    for version, entries in tables.items():
        for name, entry in entries.items():
            same = [e for e in merged[name] if {k: v for k, v in e.items() if k != "versions"} == entry]
            if same:
                same[0]["versions"].append(version)
            else:
                merged[name].append({"versions": [version], **entry})
    return merged


def _entries(command: str, options: Any) -> dict[str, dict[str, Any]]:
    """The options of one parser by name, without what is left out."""
    found = options if isinstance(options, list) else _click(options)
    left_out = LEFT_OUT if command not in ("build", "serve") else frozenset()
    return {o["dest"]: _entry(o) for o in found if o["dest"] not in left_out}


def _click(options: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The options of `trtllm-serve`, in `serve` where there are subcommands; in argparse's words."""
    params = options["commands"]["serve"]["params"] if "commands" in options else options["params"]
    for param in params:
        if param["kind"] == "option":
            switch = 0 if param["is_flag"] else None
            yield {**param, "nargs": "+" if param["multiple"] else switch}


def _entry(option: Mapping[str, Any]) -> dict[str, Any]:
    nargs = _NARGS[option["nargs"]]
    kind = option["type"]
    entry: dict[str, Any] = {"flags": option["flags"]}
    entry["type"] = "bool" if nargs == "none" else _TYPES.get(kind, kind)
    if nargs != "one":
        entry["nargs"] = nargs
    choices = option["choices"] or _ENUMERATIONS.get(kind) or []
    if choices:
        entry["choices"] = [choice for choice in choices if choice is not None]
    if option["required"]:
        entry["required"] = True
    default = option["default"]
    if default not in (None, "<unset>", []):
        entry["default"] = int(default) if entry["type"] == "int" else default
    return entry


def _keys_text(llmargs: Mapping[str, Any]) -> str:
    """One line for each key of a class of `trtllm-serve`'s YAML; TorchLlmArgs is the document itself."""
    found: dict[str, Any] = {}
    classes = {"TorchLlmArgs": _fields(llmargs, found)}
    classes |= found
    parts = []
    for name in ("TorchLlmArgs", *sorted(found)):
        lines = [f"   {json.dumps(key)}: {_line(entry)}" for key, entry in classes[name].items()]
        parts.append(f"  {json.dumps(name)}: {{\n" + ",\n".join(lines) + "\n  }")
    source = "TorchLlmArgs of TensorRT-LLM 1.3.0rc3, by derive.py"
    head = f'{{"source": {json.dumps(source)},\n "table": {json.dumps(KEYS_TABLE)},\n "classes": {{\n'
    return head + ",\n".join(parts) + "\n }}\n"


def _fields(fields: Mapping[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """Every key of a class; the classes of its values are added to `found`."""
    entries = {}
    for name, field in fields.items():
        inner: Mapping[str, Any] = field.get("fields") or {}
        for cls, its in inner.items():
            described = _fields(its, found)
            if found.setdefault(cls, described) != described:
                raise ValueError(f"two classes are called {cls}")
        entries[name] = _key(field, list(inner))
    return entries


def _key(field: Mapping[str, Any], classes: Sequence[str]) -> dict[str, Any]:
    entry: dict[str, Any] = {}
    cut = field["type"].count("[") > field["type"].count("]")  # a long union, of classes and None
    alternatives = [*classes, "NoneType"] if cut else _alternatives(field["type"])
    kinds = [_kind(each, classes) for each in alternatives if each != "NoneType"]
    entry["kinds"] = sorted(set(kinds))
    if "NoneType" in alternatives:
        entry["nullable"] = True
    literals = [json.loads(f'"{word}"') for each in alternatives for word in re.findall(r"'([^']*)'", each)]
    if literals:
        entry["choices"] = literals
    if classes:
        entry["classes"] = classes
    default = field["default"]
    if default == "PydanticUndefined":
        entry["required"] = True
    elif default not in (None, "<factory>"):
        entry["default"] = default.removeprefix("LoadFormat.") if isinstance(default, str) else default
    return entry


def _alternatives(text: str) -> list[str]:
    """The types that one key may have: `Optional[int]` is `int` and `NoneType`."""
    if inner := re.fullmatch(r"Optional\[(.*)\]", text):
        return [*_alternatives(inner[1]), "NoneType"]
    if inner := re.fullmatch(r"Union\[(.*)\]", text):
        return _split(inner[1])
    return [text]


def _split(text: str) -> list[str]:
    """The parts of a list of types; commas within brackets part nothing."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter == "[") - (letter == "]")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def _kind(text: str, classes: Sequence[str]) -> str:
    """`int`, `list[int]`, `mapping`, `mapping[str]`, `section` (own keys), `object` (not from YAML)."""
    if text in _PLAIN:
        return {"dict": "mapping"}.get(text, text)
    if inner := re.fullmatch(r"(?:List|Set)\[(.*)\]", text):
        return "list" if inner[1] == "Any" else f"list[{_kind(inner[1], ())}]"
    if inner := re.fullmatch(r"[Dd]ict\[(?:str|int), *(.*)\]", text):
        return "mapping" if inner[1] == "Any" else f"mapping[{_kind(inner[1], ())}]"
    if text.rpartition(".")[2] in classes:
        return "section"
    if text.endswith(("TokenizerBase", "PreTrainedTokenizerBase")):
        return "object"
    return "str"  # a choice, a path, an enumeration by name


def main() -> None:
    """Write both files beside this one."""
    (folder,) = sys.argv[1:]
    for name, text in written(Path(folder)).items():
        Path(__file__).with_name(name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
