"""Turn open-weight LLMs into deployable vLLM and TensorRT-LLM images."""

__version__ = "0.1.0"
