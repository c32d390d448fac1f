"""TensorRT-LLM as a value: what each version can do, and the commands and files that a recipe becomes.

TensorRT-LLM itself is never imported.
"""
