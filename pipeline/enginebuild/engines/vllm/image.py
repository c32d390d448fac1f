"""What a vLLM image says beside its files: environment, entry point, health check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from enginebuild.engines.vllm.render import CONFIG_PATH

#: Offline and without telemetry. None of the three is part of vLLM's compile-cache key (0.32.0).
ENVIRONMENT: Mapping[str, str] = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
}

#: For a base image without an entry point, or with another program's.
FALLBACK_ENTRYPOINT = ("vllm", "serve")

#: What the server is told in every image. Two words: vLLM ignores `--config=FILE` without a message.
CONFIG_WORDS = ("--config", CONFIG_PATH)


def entrypoint(base: Sequence[str] | None) -> tuple[str, ...]:
    """The image's entry point, from its base's. The command stays empty.

    The configuration is part of it, so what a user adds (`docker run IMAGE --max-model-len 4096`) is added to
    the configuration and wins over it, and does not replace it.
    """
    kept = tuple(base) if base and base[-1] == "serve" else FALLBACK_ENTRYPOINT
    return (*kept, *CONFIG_WORDS)
