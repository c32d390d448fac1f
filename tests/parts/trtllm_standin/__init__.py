"""Stand-ins for TensorRT-LLM's programs: they parse, refuse and write as those do, and compute nothing.

What they know is from the facts about TensorRT-LLM: option tables of the real parsers, refusals and silent
changes of 1.3.0rc3's builder, output layouts. Standard library alone, for they run inside images.
"""
