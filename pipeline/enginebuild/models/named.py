"""What a config.json calls things: classes, model_type, and the words of its quantization."""

from __future__ import annotations

from dataclasses import dataclass

from enginebuild.models.config import Config


@dataclass(frozen=True, slots=True)
class Named:
    """`classes`: of `architectures`, which engines look up in the order given; empty where none is written.

    `remote_code`: the repository brings code of its own for the model. `model_type` is the language model's.
    `quant_method` and `quant_algo` are of quantization_config, empty where it says nothing.
    """

    classes: tuple[str, ...] = ()
    model_type: str = ""
    remote_code: bool = False
    quant_method: str = ""
    quant_algo: str = ""


def named(config: Config) -> Named:
    """Pure; never raises."""
    section = config.section("quantization_config") or config.section("compression_config")
    method, algorithm = section.get("quant_method"), section.get("quant_algo")
    return Named(
        classes=config.texts("architectures"),
        model_type=config.model_type,
        remote_code=any(name.startswith("AutoModel") for name in config.section("auto_map")),
        quant_method=method if isinstance(method, str) else "",
        quant_algo=algorithm if isinstance(algorithm, str) else "",
    )
