"""What the two quantizing programs share: the request, the checkpoint that comes in, the one that goes out.

Runs in a quantizer's environment; the standard library alone. A mistake of the user's ends the program with
one sentence on standard error (SystemExit), which is what the step shows last.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from enginebuild.quantizers import calibration, layers
else:
    sys.path.insert(0, str(Path(__file__).parent))
    calibration, layers = map(importlib.import_module, ("calibration", "layers"))

WEIGHT_ENDINGS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".gguf", ".h5", ".msgpack", ".onnx")
INDEX = "model.safetensors.index.json"


@dataclass(frozen=True)
class Request:
    """The request as read, with the folders of this run; `scheme` is the tool's own name for the method."""

    values: Mapping[str, Any]
    input: Path
    output: Path
    calibration: Path | None

    @property
    def method(self) -> str:
        return str(self.values["method"])

    @property
    def scheme(self) -> str:
        return str(self.values["scheme"])

    @property
    def algorithm(self) -> str:
        return str(self.values["algorithm"])

    @property
    def group_size(self) -> int | None:
        return None if self.values["group_size"] is None else int(self.values["group_size"])

    @property
    def kv_cache_dtype(self) -> str | None:
        return None if self.values["kv_cache_dtype"] is None else str(self.values["kv_cache_dtype"])

    @property
    def patterns(self) -> list[str]:
        """What stays as it is: full module names, `*` for anything."""
        return [*self.values["exclude_modules"], *self.values["never_quantized"]]

    @property
    def threads(self) -> int:
        return int(self.values["threads"])


def begin(argv: list[str]) -> Request:
    """Read the request and fix what decides bytes: threads, no network. Call it before torch comes in."""
    parser = argparse.ArgumentParser()
    parser.add_argument("request", type=Path)
    for name in ("input", "output", "calibration"):
        parser.add_argument(f"--{name}", type=Path)
    arguments = parser.parse_args(argv)
    values = json.loads(arguments.request.read_text(encoding="utf-8"))
    calibration = values["calibration"]
    folder = calibration and (arguments.calibration or Path(calibration["folder"]))
    request = Request(
        values,
        arguments.input or Path(values["input"]),
        arguments.output or Path(values["output"]),
        folder or None,
    )
    _settle(request.threads)
    _expect_versions(values["versions"])
    return request


def _settle(threads: int) -> None:
    os.umask(0o022)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(threads)
    os.environ.update(
        HF_HUB_OFFLINE="1",
        TRANSFORMERS_OFFLINE="1",
        HF_HUB_DISABLE_TELEMETRY="1",
        HF_HOME=tempfile.mkdtemp(prefix="quantize-"),
        TOKENIZERS_PARALLELISM="false",
        CUBLAS_WORKSPACE_CONFIG=":4096:8",
    )


def _expect_versions(versions: Mapping[str, str]) -> None:
    metadata = importlib.import_module("importlib.metadata")
    for name, wanted in versions.items():
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            raise SystemExit(
                f"this environment has no {name}: builder.image or builder.environment must have it"
            ) from None
        if found != wanted:
            raise SystemExit(
                f"this environment has {name} {found}, the step is keyed on {wanted}: "
                "install the locked requirements"
            )


def settle_torch(torch: Any, request: Request) -> str:
    """Seed and thread count; the device to work on."""
    calibration = request.values["calibration"]
    torch.manual_seed(calibration["seed"] if calibration else 0)
    torch.set_num_threads(request.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    return "cuda:0" if torch.cuda.is_available() else "cpu"


def shapes(folder: Path) -> dict[str, tuple[str, list[int]]]:
    """dtype and shape of every tensor of the folder, from the headers of its safetensors files."""
    found: dict[str, tuple[str, list[int]]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        header.pop("__metadata__", None)
        found |= {name: (entry["dtype"], entry["shape"]) for name, entry in header.items()}
    if not found:
        raise SystemExit(
            "the model has no safetensors files: a quantizer reads no other kind of weights here"
        )
    return found


def check_input(request: Request) -> list[layers.Linear]:
    """The layers to quantize, or an end in one sentence: nothing to do, done already, a width that does not
    divide.
    """
    config = json.loads((request.input / "config.json").read_text(encoding="utf-8"))
    if "quantization_config" in config:
        method = config["quantization_config"].get("quant_method", "an unnamed method")
        raise SystemExit(f"the model is quantized already ({method}): quantize its original, or say none")
    tensors = shapes(request.input)
    modules = {name.rpartition(".")[0] for name in tensors}
    for pattern in request.values["exclude_modules"]:
        if pattern != "lm_head" and not any(layers.matches(name, [pattern]) for name in modules):
            raise SystemExit(
                f"quantization.exclude_modules: {pattern!r} is no module of the model "
                "(full names, with * for any text, such as model.layers.0.*)"
            )
    found = layers.linears(tensors, request.patterns)
    if not found:
        raise SystemExit("nothing is left to quantize: every linear layer is excluded")
    if fault := layers.misfit(found, request.group_size):
        raise SystemExit(fault)
    return found


def calibration_text(request: Request, tokenizer: Any) -> list[str]:
    """The chosen samples as text, conversations by the model's chat template."""
    wanted = request.values["calibration"]
    assert request.calibration is not None
    try:
        samples = calibration.read_samples(request.calibration)
        chosen = calibration.choose(samples, wanted["num_samples"], wanted["seed"])
    except calibration.CalibrationError as error:
        raise SystemExit(str(error)) from None
    if any(not isinstance(sample, str) for sample in chosen) and not tokenizer.chat_template:
        raise SystemExit(
            'the calibration data have "messages", the model has no chat template: give them as "text"'
        )
    return [
        sample if isinstance(sample, str) else tokenizer.apply_chat_template(sample, tokenize=False)
        for sample in chosen
    ]


def calibration_batches(request: Request, tokenizer: Any, torch: Any) -> list[dict[str, Any]]:
    """Batches of token ids in the order chosen; in each, all are cut to the shortest: no padding."""
    wanted = request.values["calibration"]
    rows = [
        tokenizer(text, truncation=True, max_length=wanted["max_seq_length"])["input_ids"]
        for text in calibration_text(request, tokenizer)
    ]
    size = wanted["batch_size"]
    batches = []
    for at in range(0, len(rows), size):
        part = rows[at : at + size]
        length = min(map(len, part))
        ids = torch.tensor([row[:length] for row in part])
        batches.append({"input_ids": ids, "attention_mask": torch.ones_like(ids)})
    return batches


def finish(request: Request, exported: Path) -> None:
    """Lay the output folder out: the tool's weights, the model's own files, and its configuration with what
    the tool says of the quantization. Nothing in it depends on when or where it was made.
    """
    output = request.output
    made = json.loads((exported / "config.json").read_text(encoding="utf-8"))
    if not made.get("quantization_config"):
        raise SystemExit("the quantizer wrote no quantization_config: no layer was quantized")
    config = json.loads((request.input / "config.json").read_text(encoding="utf-8"))
    config["quantization_config"] = _only_linear(made["quantization_config"])
    if "tie_word_embeddings" in config and "tie_word_embeddings" in made:
        config["tie_word_embeddings"] = made["tie_word_embeddings"]
    for path in sorted(exported.glob("*.safetensors")):
        path.rename(output / path.name)
    for name in (INDEX, "hf_quant_config.json"):
        if (exported / name).exists():
            write_json(output / name, json.loads((exported / name).read_text(encoding="utf-8")))
    shutil.rmtree(exported)
    _copy_rest(request.input, output)
    write_json(output / "config.json", config, sort=False)
    for path in output.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def _only_linear(value: dict[str, Any]) -> dict[str, Any]:
    """Without what is no linear layer: the shard-by-shard way must be told to leave embeddings and norms
    alone, an engine need not.
    """
    if value["quant_method"] == "compressed-tensors":
        kept = {name for name in value["ignore"] if not layers.is_embedding(name) and "norm" not in name}
        value["ignore"] = sorted(kept)
    return value


def _copy_rest(source: Path, output: Path) -> None:
    for path in sorted(source.rglob("*")):
        relative = path.relative_to(source)
        skipped = path.name.endswith((*WEIGHT_ENDINGS, ".index.json")) or path.name == "config.json"
        if path.is_file() and not (skipped and len(relative.parts) == 1):
            (output / relative).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, output / relative)


def write_json(path: Path, value: Any, *, sort: bool = True) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=sort, ensure_ascii=False) + "\n", encoding="utf-8")


def say(text: str) -> None:
    """A line for the step's log."""
    sys.stderr.write(f"enginebuild: {text}\n")
    sys.stderr.flush()
