"""vLLM as a value: which arguments each version takes, and the configuration that a baked image has.

vLLM itself is never imported.
"""

from enginebuild.engines.health import healthcheck
from enginebuild.engines.vllm.check import check_arguments, check_version
from enginebuild.engines.vllm.image import CONFIG_WORDS, ENVIRONMENT, entrypoint
from enginebuild.engines.vllm.render import CONFIG_PATH, DEFAULT_PORT, MODEL_PATH, VllmSettings, render
from enginebuild.engines.vllm.table import VERSIONS

__all__ = [
    "CONFIG_PATH",
    "CONFIG_WORDS",
    "DEFAULT_PORT",
    "ENVIRONMENT",
    "MODEL_PATH",
    "VERSIONS",
    "VllmSettings",
    "check_arguments",
    "check_version",
    "entrypoint",
    "healthcheck",
    "render",
]
