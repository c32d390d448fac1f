"""Programs that run where a vLLM is installed: the standard library and that vLLM, imported there alone.

They are copied beside one another (`validation.py` says which), never installed.
"""
