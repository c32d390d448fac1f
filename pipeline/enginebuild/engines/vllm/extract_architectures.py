"""Write which classes of a config.json the vLLM serves that the running python imports, on standard output.

Like extract.py this is run by a python that has vLLM, once per supported version, and what it prints is
checked in under `registries/`:

    VLLM_TARGET_DEVICE=cpu <a vLLM's python> -P extract_architectures.py "<source>" > registries/X.Y.Z.json

vLLM's own registry is asked, which says as well what it had once and what plugins have. What is not in it
falls to the Transformers backend: whether that takes a class is asked of the library that is there.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Mapping
from typing import Any

#: Ends of the names of classes that generate text.
_GENERATING = ("ForCausalLM", "ForConditionalGeneration", "LMHeadModel")


def taken_over(library: Any, name: str) -> bool | None:
    """Whether the Transformers backend takes a class; None where the library has none of this name.

    It takes no encoder-decoder models (vLLM 0.33.0, models/transformers/base.py, _get_attn_cls).
    """
    cls = getattr(library, name, None)
    if not (isinstance(cls, type) and issubclass(cls, library.PreTrainedModel)):
        return None
    made: Any = cls
    if getattr(made.config_class, "is_encoder_decoder", False):
        return False
    return bool(made.is_backend_compatible() or made._can_set_attn_implementation())


def found() -> Mapping[str, Any]:
    """Names by what becomes of them, as `Registry` in architectures.py explains."""
    registry = importlib.import_module("vllm.model_executor.models.registry")
    model = importlib.import_module("vllm.config.model")
    library = importlib.import_module("transformers")
    former, plugins = registry._PREVIOUSLY_SUPPORTED_MODELS, registry._OOT_SUPPORTED_MODELS
    served = sorted(registry.ModelRegistry.get_supported_archs())
    names = {name for name in dir(library) if name.endswith(_GENERATING)} | {*former, *plugins}
    answers = {name: taken_over(library, name) for name in sorted(names - {*served})}
    return {
        "served": served,
        "suffixes": [suffix for suffix, _ in model.iter_architecture_defaults()],
        "former": dict(sorted(former.items())),
        "plugins": dict(sorted(plugins.items())),
        "library": f"transformers {library.__version__}",
        "transformers": [name for name, taken in answers.items() if taken],
        "refused": [name for name, taken in answers.items() if taken is False],
    }


def rendered(version: str, source: str, names: Mapping[str, Any]) -> str:
    """As JSON, one kind a line: equal registries give equal bytes."""
    lines = [
        f" {json.dumps(key)}: {json.dumps(value)}"
        for key, value in {"version": version, "source": source, **names}.items()
    ]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def main() -> None:
    """Print them; the only argument says where this vLLM is from."""
    (source,) = sys.argv[1:]
    version: str = importlib.import_module("vllm").__version__
    sys.stdout.write(rendered(version.partition("+")[0], source, found()))


if __name__ == "__main__":
    main()
