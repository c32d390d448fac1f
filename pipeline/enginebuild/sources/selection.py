"""Which files of a repository a server needs: weights as safetensors, configuration, tokenizer, templates.

The rules, in order:

1. Without `allow_patterns`, files at the top: `*.safetensors`, `*.json`, tokenizers (`*.model`, `*.tiktoken`,
   `merges.txt`, `vocab.txt`), chat templates (`*.jinja`), `*.py` (custom model code: engines run it only
   under `trust_remote_code`, and then an offline start fails without it), and the licence, which has to
   travel with the weights. From folders only the modules of sentence-transformers (`1_Pooling/…`) and
   `additional_chat_templates/`. So never `original/`, `onnx/`, `*.gguf` and other copies of the same weights.
2. Mistral's second copy of the weights (`consolidated*.safetensors`, `params.json`) is left out where the
   Hugging Face layout is there: vLLM takes the Mistral layout if it finds both (`is_mistral_model_repo`).
3. Records of the training run (`trainer_state.json`, …) and indexes of weights in other formats are left out.
4. `ignore_patterns`.
5. Pickles, whatever the patterns say, unless `allow_pickle`: loading one runs code.

With `allow_patterns` only rules 4 and 5 apply to the files that match. Files whose name, or whose folder's
name, starts with a dot are never taken.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from enginebuild.sources.model import ModelRequest

PICKLES = (
    ".bin",
    ".pt",
    ".pth",
    ".ckpt",
    ".pkl",
    ".pickle",
    ".msgpack",
    ".h5",
    ".joblib",
    ".npy",
    ".npz",
    ".nemo",
)

_TOP = (
    "*.safetensors",
    "*.json",
    "*.model",
    "*.tiktoken",
    "*.jinja",
    "*.py",
    "merges.txt",
    "vocab.txt",
    "LICENSE*",
    "LICENCE*",
    "NOTICE*",
    "USE_POLICY*",
)
_FOLDERS = (
    ("[0-9]_*/*", ("*.safetensors", "*.json", "*.txt", "*.model")),
    ("additional_chat_templates/*", ("*.jinja",)),
)
_NEVER = (
    "trainer_state.json",
    "training_args.json",
    "all_results.json",
    "train_results.json",
    "eval_results.json",
    "pytorch_model*.index.json",
    "tf_model*.index.json",
    "flax_model*.index.json",
)
#: What is read of a dataset, in whatever folder, unless the request says otherwise; never its loading script,
#: which would run code.
_DATA = ("*.jsonl", "*.json", "*.parquet", "*.txt")
_MISTRAL_COPY = ("consolidated*.safetensors", "consolidated*.safetensors.index.json", "params.json")


def is_pickle(path: str) -> bool:
    """Whether reading the file as weights may run code (pickle, or a format that can hold one)."""
    return PurePosixPath(path).suffix.lower() in PICKLES


def select(paths: Collection[str], request: ModelRequest) -> list[str]:
    """The paths that a server needs of a model, or that a quantizer reads of a dataset, sorted."""
    visible = [path for path in sorted(paths) if not _hidden(path)]
    if request.repo_type == "dataset":
        return [path for path in visible if _matches(path, request.allow_patterns or _DATA)]
    if request.allow_patterns:
        chosen = [path for path in visible if _matches(path, request.allow_patterns)]
    else:
        chosen = _default(visible, request.allow_pickle)
    return [
        path
        for path in chosen
        if not _matches(path, request.ignore_patterns) and (request.allow_pickle or not is_pickle(path))
    ]


def skipped_pickles(paths: Collection[str]) -> list[str]:
    """The pickled weights at the top of a repository, sorted: what to name if there is nothing else."""
    return [path for path in sorted(paths) if "/" not in path and is_pickle(path)]


def _default(paths: Sequence[str], allow_pickle: bool) -> list[str]:
    mistral = () if not _has_hugging_face_layout(paths) else _MISTRAL_COPY
    chosen = [path for path in paths if _needed(path) and not _matches(path, mistral)]
    if allow_pickle and not any(path.endswith(".safetensors") for path in chosen):
        indexes = ("pytorch_model*.index.json",)
        chosen += [path for path in paths if "/" not in path and (is_pickle(path) or _matches(path, indexes))]
    return sorted(chosen)


def _has_hugging_face_layout(paths: Sequence[str]) -> bool:
    weights = [path for path in paths if "/" not in path and path.endswith(".safetensors")]
    return "config.json" in paths and any(not _matches(path, _MISTRAL_COPY) for path in weights)


def _needed(path: str) -> bool:
    name = PurePosixPath(path).name
    if "/" in path:
        return any(
            re.fullmatch(folder.replace("*", "[^/]*"), path) and _matches(name, names)
            for folder, names in _FOLDERS
        )
    return _matches(name, _TOP) and not _matches(name, _NEVER)


def _hidden(path: str) -> bool:
    return any(part.startswith(".") for part in path.split("/"))


def _matches(path: str, patterns: Sequence[str]) -> bool:
    """As huggingface_hub's filter_repo_objects: `*` crosses slashes, `folder/` means all that is in it."""
    return any(fnmatchcase(path, pattern + "*" if pattern.endswith("/") else pattern) for pattern in patterns)
